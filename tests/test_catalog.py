"""The worker types on offer, from plugins and settings together."""

from __future__ import annotations

import attrs
import pytest

from mahavishnu_core import WorkerType
from mahavishnu_core.catalog import build_catalog
from mahavishnu_core.errors import MissingError, UnknownWorkerType
from mahavishnu_core.settings import Settings, WorkerOverride, load_settings

CLAUDE = WorkerType(
    name="terminal-claude",
    agent="claude",
    command_template="claude",
    description="Claude",
    pass_env=("ANTHROPIC_*",),
    install="npm install -g @anthropic-ai/claude-code",
)
SHELL = WorkerType(name="shell", agent="shell", command_template="/bin/sh -c", progress_tracking="lines")
OFFERED = [("claude", CLAUDE), ("shell", SHELL)]


def settings(*workers):
    return Settings(workers=workers)


def reason(catalog, name):
    with pytest.raises(MissingError) as caught:
        catalog.get(name)
    return str(caught.value)


def source(catalog, name):
    return next(entry.source for entry in catalog.entries if entry.type.name == name)


def test_what_a_plugin_offers_can_be_had_by_name():
    catalog = build_catalog(OFFERED, settings())
    assert catalog.get("terminal-claude") == CLAUDE
    assert source(catalog, "terminal-claude") == "claude"


def test_entries_are_sorted_by_name():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("make", agent="shell")))
    assert [entry.type.name for entry in catalog.entries] == ["make", "shell", "terminal-claude"]


def test_settings_change_only_what_they_name():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("terminal-claude", timeout_seconds=900.0)))
    kind = catalog.get("terminal-claude")
    assert (kind.timeout_seconds, kind.command_template, kind.pass_env) == (900.0, "claude", ("ANTHROPIC_*",))
    assert source(catalog, "terminal-claude") == "claude"


def test_settings_add_a_type_with_an_agent_and_a_template():
    new = WorkerOverride("careful", agent="claude", command_template="claude --permission-mode plan")
    catalog = build_catalog(OFFERED, settings(new))
    kind = catalog.get("careful")
    assert (kind.agent, kind.command_template) == ("claude", "claude --permission-mode plan")
    assert source(catalog, "careful") == "settings"


def test_a_new_type_has_what_its_agents_own_type_has():
    kind = build_catalog(OFFERED, settings(WorkerOverride("bash", agent="shell"))).get("bash")
    assert (kind.progress_tracking, kind.command_template) == ("lines", "/bin/sh -c")


def test_a_new_type_has_neither_the_aliases_nor_the_place_of_its_agents_own():
    boxed = WorkerType("boxed", "claude", place="box", aliases=("b",), command_template="claude")
    kind = build_catalog([("box", boxed)], settings(WorkerOverride("mine", agent="claude"))).get("mine")
    assert (kind.aliases, kind.place) == ((), "local")


def test_an_agent_in_another_place_is_a_type_without_code():
    boxed = WorkerType("boxed", "shell", place="box", command_template="sh -c")
    new = WorkerOverride("boxed-claude", agent="claude", place="box")
    kind = build_catalog([*OFFERED, ("box", boxed)], settings(new)).get("boxed-claude")
    assert (kind.agent, kind.place, kind.command_template) == ("claude", "box", "claude")


@pytest.mark.parametrize("name", ["big-claude", "claude", "my.big-claude"])
def test_the_agent_may_be_left_out_where_the_name_ends_in_it(name):
    assert build_catalog(OFFERED, settings(WorkerOverride(name))).get(name).agent == "claude"


def test_a_name_that_merely_ends_like_an_agent_names_none():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("myclaude")))
    assert reason(catalog, "myclaude") == (
        "worker type 'myclaude' is not available: "
        "no plugin offers it, and its entry in the settings names no agent"
    )


def test_the_longest_agent_in_a_name_counts():
    offered = [*OFFERED, ("x", WorkerType("x", "big-claude"))]
    assert build_catalog(offered, settings(WorkerOverride("my-big-claude"))).get("my-big-claude").agent == (
        "big-claude"
    )


def test_the_core_brings_the_agent_generic():
    new = WorkerOverride("any", agent="generic", command_template="aider --message-file -")
    assert build_catalog([], settings(new)).get("any").command_template == "aider --message-file -"


def test_a_generic_type_needs_a_template():
    assert reason(build_catalog([], settings(WorkerOverride("any", agent="generic"))), "any") == (
        "worker type 'any' is not available: it names no command_template, which the agent 'generic' needs"
    )


def test_an_alias_is_another_name():
    offered = [("x", WorkerType("long-name", "x", aliases=("short",)))]
    assert build_catalog(offered, settings()).get("short").name == "long-name"


def test_an_alias_that_is_a_types_name_is_not_used():
    offered = [*OFFERED, ("x", WorkerType("long-name", "x", aliases=("shell",)))]
    catalog = build_catalog(offered, settings())
    assert catalog.get("shell").agent == "shell"
    assert catalog.problems == (
        "alias 'shell' of 'long-name' is the name of another worker type: it is not used",
    )


def test_an_alias_of_two_types_is_not_used():
    offered = [("x", WorkerType(name, "x", aliases=("both",))) for name in ("a", "b")]
    catalog = build_catalog(offered, settings())
    assert catalog.problems == ("alias 'both' is claimed by 'a' and 'b': it is not used",)
    with pytest.raises(UnknownWorkerType):
        catalog.get("both")


def test_an_unknown_name_comes_with_the_nearest_and_how_to_list_them():
    with pytest.raises(UnknownWorkerType) as caught:
        build_catalog(OFFERED, settings()).get("terminal-cluade")
    assert str(caught.value) == (
        "unknown worker type 'terminal-cluade' (did you mean 'terminal-claude'?): "
        "there are shell, terminal-claude ('mahavishnu workers types' says more)"
    )


@pytest.mark.parametrize("name", ["", "x" * 10_000, "\x1b[31m", "../../etc"])
def test_no_name_that_is_asked_for_can_do_harm(name):
    with pytest.raises(UnknownWorkerType) as caught:
        build_catalog(OFFERED, settings()).get(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_type_of_an_agent_that_no_plugin_offers_says_what_to_install():
    catalog = build_catalog([], settings(WorkerOverride("terminal-claude", agent="claude")))
    assert reason(catalog, "terminal-claude") == (
        "worker type 'terminal-claude' is not available: "
        "no plugin for the agent 'claude' is loaded: 'mahavishnu plugins list' shows which are"
    )


def test_a_type_of_a_place_that_no_plugin_offers_says_what_to_install():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("boxed", agent="shell", place="container")))
    assert reason(catalog, "boxed") == (
        "worker type 'boxed' is not available: "
        "no plugin for the place 'container' is loaded: 'mahavishnu plugins list' shows which are"
    )


def test_a_misspelt_agent_is_no_reason_to_install_anything():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("x", agent="claud")))
    assert reason(catalog, "x") == (
        "worker type 'x' is not available: no plugin offers the agent 'claud' (did you mean 'claude'?)"
    )


def test_a_type_of_a_plugin_that_was_refused_says_why_it_was():
    catalog = build_catalog(
        [],
        settings(WorkerOverride("terminal-claude", agent="claude")),
        refused={"claude": "ModuleNotFoundError: No module named 'x'"},
    )
    assert reason(catalog, "terminal-claude") == (
        "worker type 'terminal-claude' is not available: it needs the agent 'claude', "
        "whose plugin was not loaded: ModuleNotFoundError: No module named 'x'"
    )


def test_a_type_that_cannot_be_used_is_listed_with_the_reason():
    catalog = build_catalog([], settings(WorkerOverride("terminal-claude", agent="claude")))
    (entry,) = catalog.entries
    assert (
        entry.unavailable
        == "no plugin for the agent 'claude' is loaded: 'mahavishnu plugins list' shows which are"
    )


def test_g6_a_name_that_two_plugins_offer_is_used_from_neither():
    catalog = build_catalog([("a", SHELL), ("b", WorkerType("shell", "evil"))], settings())
    fault = "it is offered by the plugins 'a' and 'b', so neither is used: uninstall one of them"
    assert catalog.problems == (f"worker type 'shell': {fault}",)
    assert reason(catalog, "shell") == f"worker type 'shell' is not available: {fault}"
    assert source(catalog, "shell") == "a, b"


def test_settings_that_name_the_agent_decide_over_a_name_that_two_plugins_offer():
    other = WorkerType("shell", "evil", command_template="evil")
    own = WorkerOverride("shell", agent="shell", command_template="/bin/sh -c")
    catalog = build_catalog([("a", SHELL), ("b", other)], settings(own))
    assert (catalog.get("shell").agent, catalog.get("shell").command_template) == ("shell", "/bin/sh -c")
    assert len(catalog.problems) == 1


@pytest.mark.parametrize("name", ["../x", "", "\x1b[31mred", "x" * 10_000, "Upper", 3, None])
def test_g6_a_plugins_type_of_an_impossible_name_is_refused_and_the_plugin_named(name):
    catalog = build_catalog([*OFFERED, ("bad", WorkerType(name, "x"))], settings())
    (problem,) = catalog.problems
    assert problem.startswith("plugin 'bad' offers a worker type ")
    assert problem.isprintable()
    assert len(problem) < 300
    assert [entry.type.name for entry in catalog.entries] == ["shell", "terminal-claude"]


def test_a_plugin_that_offers_something_else_is_named():
    assert build_catalog([("bad", {"name": "x"})], settings()).problems == (
        "plugin 'bad' offers dict as a worker type: it is not used",
    )


def test_the_variables_of_a_type_are_found_by_its_name():
    catalog = build_catalog(OFFERED, settings(WorkerOverride("shell", env={"A": "b"})))
    assert catalog.env_of("shell") == {"A": "b"}
    assert catalog.env_of("gone") == {}


def test_the_shipped_settings_on_the_shipped_agents(tmp_path):
    shipped = load_settings(cwd=tmp_path, environ={"XDG_CONFIG_HOME": str(tmp_path)}).settings
    catalog = build_catalog(OFFERED, shipped)
    assert catalog.problems == ()
    assert catalog.get("terminal-claude").command_template == (
        "claude --output-format stream-json --permission-mode acceptEdits"
    )
    assert catalog.get("shell").progress_tracking == "lines"
    assert "no plugin for the agent 'qwen' is loaded" in reason(catalog, "terminal-qwen")
    assert "no plugin for the place 'container' is loaded" in reason(catalog, "container")


@pytest.mark.parametrize(
    ("field", "value", "due"),
    [
        ("aliases", None, "tuple"),
        ("aliases", "qwen", "tuple"),
        ("env", None, "mapping"),
        ("pass_env", "A", "tuple"),
    ],
)
def test_an_offer_with_a_field_that_is_something_else_is_named_and_not_used(field, value, due):
    offered = [
        ("odd", attrs.evolve(WorkerType("odd", "odd"), **{field: value})),
        ("x", WorkerType("good", "good")),
    ]
    catalog = build_catalog(offered, settings())
    what = type(value).__name__
    assert catalog.problems == (
        f"plugin 'odd' offers a worker type 'odd' whose '{field}' is {what}, no {due}: it is not used",
    )
    assert catalog.get("good").name == "good"
