"""Plugins that are broken, each in its own way: named with the reason, and everything else goes on."""

from __future__ import annotations

from importlib import import_module
from inspect import isasyncgenfunction, iscoroutinefunction

import pytest

from mahavishnu_core import errors, hookimpl
from mahavishnu_core.entry_points import discover
from mahavishnu_core.host import Host, Loaded, awaited, host_of, load_plugins
from tests.installed import PLAIN, opened


@pytest.fixture
def site(tmp_path):
    with opened(tmp_path / "site") as site:
        yield site


def load(*names: str) -> Host:
    return load_plugins({"MAHAVISHNU_PLUGINS": ",".join(names)})


def type_names(host: Host) -> set[str]:
    """What the loaded plugins offer."""
    return {kind.name for _, kinds in host.all("worker_types") for kind in kinds}


def refused(host: Host) -> dict[str, str]:
    return {plugin.name: str(plugin) for plugin in host.refused}


HEAD = "from mahavishnu_core import hookimpl\nHOOK_API = 1\n"

BROKEN = {
    "an import that fails": (
        "import no_such_module_anywhere\n",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "a syntax error": ("def broken(:\n", "SyntaxError: invalid syntax (site_bad_own.py, line 1)"),
    "an exit on import": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "an error without words": ("raise ValueError\n", "ValueError"),
    "an error of many lines": ("raise ValueError('first\\nlast')\n", "ValueError: last"),
    "no version of the hooks": (
        "from mahavishnu_core import hookimpl\n",
        "it does not say which hooks it was written for: add 'HOOK_API = 1'",
    ),
    "a newer version of the hooks": (
        "HOOK_API = 2\n",
        "it was written for hook API 2, this is 1: it needs a newer mahavishnu-core",
    ),
    "an older version of the hooks": (
        "HOOK_API = 0\n",
        "it was written for hook API 0, this is 1: it is too old for this mahavishnu-core",
    ),
    "a version that is none": (
        "HOOK_API = 'one'\n",
        "it was written for hook API 'one', this is 1: it is too old for this mahavishnu-core",
    ),
    "an argument that the hook has not": (
        HEAD + "@hookimpl\ndef spawn(worker, colour): ...\n",
        "PluginValidationError: Argument(s) {'colour'} are declared in the hookimpl "
        "but can not be found in the hookspec",
    ),
    "a misspelt hook": (
        HEAD + "@hookimpl\ndef worker_tpyes(): ...\n",
        "PluginValidationError: unknown hook 'worker_tpyes' in plugin",
    ),
    "a hook that is async": (
        HEAD + "@hookimpl\nasync def spawn(worker): ...\n",
        "its spawn is an 'async def': make it a plain 'def' that returns an awaitable",
    ),
    "a hook that is an async generator": (
        HEAD + "@hookimpl\nasync def monitor(event):\n    yield\n",
        "its monitor is an 'async def': make it a plain 'def' that returns an awaitable",
    ),
    "an order of its own": (
        HEAD + "@hookimpl(trylast=True)\ndef execute(worker): ...\n",
        "its execute is marked tryfirst or trylast: the order is the core's affair",
    ),
    "a wrapper": (
        HEAD + "@hookimpl(wrapper=True)\ndef spawn(worker):\n    return (yield)\n",
        "its spawn is a hook wrapper: only plain hooks are called",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_g1_a_plugin_that_cannot_be_loaded_is_named_and_the_others_work(site, fault):
    code, reason = BROKEN[fault]
    site.install("bad", code)
    site.install("good")
    host = load("bad", "good")
    assert refused(host)["bad"].startswith(f"plugin 'bad' (acme-bad 1.2) not loaded: {reason}")
    assert len(refused(host)["bad"].splitlines()) == 1
    assert list(refused(host)) == ["bad"]
    assert type_names(host) == {"good-type"}


def test_the_cause_is_kept_for_who_wants_the_traceback(site):
    site.install("bad", "1 / 0\n")
    (plugin,) = load("bad").refused
    assert isinstance(plugin.cause, ZeroDivisionError)
    assert plugin.cause.__traceback__ is not None


@pytest.mark.parametrize("fault", ["a misspelt hook", "an argument that the hook has not", "a wrapper"])
def test_g2_no_hook_of_a_refused_plugin_is_called(site, fault):
    code, _ = BROKEN[fault]
    site.install("bad", PLAIN + code.removeprefix(HEAD))
    host = load("bad")
    assert list(refused(host)) == ["bad"]
    assert type_names(host) == set()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_module_at_all", "ModuleNotFoundError: No module named 'no_module_at_all'"),
        ("json:nothing_there", "AttributeError: module 'json' has no attribute 'nothing_there'"),
        ("", "ValueError: Empty module name"),
        (":x", "ValueError: Empty module name"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_named(site, value, reason):
    site.add("acme-stale", "0.1", f"[mahavishnu]\nstale = {value}\n")
    assert refused(load("stale")) == {"stale": f"plugin 'stale' (acme-stale 0.1) not loaded: {reason}"}


def test_a_plugin_may_be_an_attribute_of_a_module(site):
    code = """
        from types import SimpleNamespace
        from mahavishnu_core import WorkerType, hookimpl

        class Plugin:
            HOOK_API = 1

            @hookimpl
            def worker_types(self):
                return [WorkerType("nested-type", "nested")]

        offers = SimpleNamespace(plugin=Plugin())
    """
    module = site.install("nested", code, value="placeholder")
    site.add("acme-two", "2.0", f"[mahavishnu]\ntwo = {module}:offers.plugin\n")
    host = load("two")
    assert refused(host) == {}
    assert type_names(host) == {"nested-type"}


def test_a_name_that_is_taken_stays_with_the_first_and_both_are_named(site):
    site.install("twice", distribution="acme-first")
    site.install("twice", PLAIN.replace("-type", "-other"), distribution="acme-second", version="3.4")
    host = load("twice")
    assert refused(host) == {
        "twice": "plugin 'twice' (acme-second 3.4) not loaded: acme-first 1.2 has taken that name"
    }
    assert type_names(host) == {"twice-type"}


def test_the_name_of_a_part_of_the_core_is_taken(site):
    site.install("core")
    assert refused(load("core")) == {
        "core": "plugin 'core' (acme-core 1.2) not loaded: mahavishnu-core has taken that name"
    }


def test_one_module_under_two_names_is_loaded_once(site):
    module = site.install("one")
    site.add("acme-two", "2.0", f"[mahavishnu]\nother = {module}\n")
    host = load("one", "other")
    assert list(refused(host)) == ["other"]
    assert type_names(host) == {"one-type"}


def test_what_is_loaded_is_listed_with_its_distribution_and_its_hooks(site):
    site.install("good", PLAIN + "\n@hookimpl\ndef monitor(event): ...\n")
    assert load("good").loaded[1:] == [Loaded("good", "acme-good 1.2", ("monitor", "worker_types"))]


# --- which are loaded


def test_the_environment_may_name_the_plugins_to_load(site):
    for name in ("a", "b", "c"):
        site.install(name)
    host = load_plugins({"MAHAVISHNU_PLUGINS": " a, c,nobody"})
    assert [plugin.name for plugin in host.loaded] == ["core", "a", "c"]


def test_an_empty_list_loads_none_and_the_core_stays(site):
    site.install("a")
    assert [plugin.name for plugin in load_plugins({"MAHAVISHNU_PLUGINS": ""}).loaded] == ["core"]


def test_a_program_may_do_without_plugins_of_others(site):
    site.install("a")
    assert [plugin.name for plugin in load_plugins({}, third_party=False).loaded] == ["core"]


def test_a_plugin_that_is_not_asked_for_is_not_even_imported(site):
    site.install("bad", "raise SystemExit\n")
    site.install("other")
    assert load_plugins({"MAHAVISHNU_PLUGINS": "other"}).refused == []


def test_a_plugin_that_is_asked_for_and_not_installed_is_named(site):
    site.install("other")
    (refused,) = load_plugins({"MAHAVISHNU_PLUGINS": "othr"}).refused
    assert str(refused) == (
        "plugin 'othr' (MAHAVISHNU_PLUGINS) not loaded: no plugin of that name is installed "
        "(did you mean 'other'?)"
    )


# --- when they are called


def test_a_hook_that_raises_is_not_asked_again_and_the_others_answer(site):
    code = HEAD + "@hookimpl\ndef worker_types():\n    yield 1\n    raise RuntimeError('no luck')\n"
    site.install("bad", code + "@hookimpl\ndef store_result(task): return 7\n")
    site.install("good")
    host = load("bad", "good")
    assert type_names(host) == {"good-type"}
    (plugin,) = host.refused
    assert (plugin.name, plugin.source) == ("bad", "acme-bad 1.2")
    assert plugin.reason == "worker_types failed: RuntimeError: no luck"
    assert type_names(host) == {"good-type"}
    assert len(host.refused) == 1
    assert host.all("store_result", task=None) == [("bad", 7)]


def test_a_hook_that_exits_does_not_end_the_program(site):
    site.install("bad", HEAD + "@hookimpl\ndef monitor(event): raise SystemExit(0)\n")
    host = load("bad")
    assert host.all("monitor", event=None) == []
    assert [plugin.reason for plugin in host.refused] == ["monitor failed: SystemExit: 0"]


class Asked:
    """A plugin that answers what it was given, or raises it."""

    HOOK_API = 1

    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def spawn(self, worker: object) -> object:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def spawn(**answers: object) -> object:
    host = host_of({name: Asked(answer) for name, answer in answers.items()})
    return host.ask("spawn", engine=None, worker=None)


def test_none_is_no_answer_and_everything_else_is_one():
    assert spawn(a=None, b="answer", c=None) == "answer"
    assert spawn(a=None) is None
    assert spawn() is None
    assert spawn(a=0) == 0


def test_another_plugin_may_answer_in_place_of_one_that_fails():
    assert spawn(a=RuntimeError("no luck"), b="answer") == "answer"


@pytest.mark.parametrize("error", [RuntimeError("no luck"), SystemExit("no luck")], ids=repr)
def test_when_nobody_else_answers_the_one_that_failed_is_named(error):
    with pytest.raises(errors.PluginError) as caught:
        spawn(a=error, b=None)
    kind = type(error).__name__
    assert str(caught.value) == f"plugin 'a' (mahavishnu-core) failed in spawn: {kind}: no luck"
    assert caught.value.__cause__ is error


def test_the_distribution_of_one_that_failed_is_named(site):
    site.install("bad", HEAD + "@hookimpl\ndef execute(worker, task): raise KeyError('x')\n")
    host = load("bad")
    worker = type("W", (), {"type": type("T", (), {"agent": "x"})})
    with pytest.raises(
        errors.PluginError, match=r"^plugin 'bad' \(acme-bad 1.2\) failed in execute: KeyError"
    ):
        host.ask("execute", worker=worker, task=None)
    assert host.refused == []


def test_an_error_for_the_user_passes_as_it_is():
    with pytest.raises(errors.MissingError, match=r"^install it$"):
        spawn(a=None, b=errors.MissingError("install it"), c=None)


def test_the_plugins_that_implement_a_hook_are_named_in_order():
    host = host_of({"a": Asked(1), "b": object(), "c": Asked(2)})
    assert host.implementers("spawn") == ["a", "c"]
    assert host.implementers("monitor") == []


async def test_what_a_hook_promised_is_awaited_and_looked_at():
    async def promise(value: object) -> object:
        return value

    assert await awaited(promise("text"), str) == "text"
    with pytest.raises(errors.PluginError, match=r"^a hook gave int where str is due$"):
        await awaited(promise(1), str)
    with pytest.raises(errors.PluginError, match=r"^a hook answered str where an awaitable is due$"):
        await awaited("text", str)


OURS = [entry for entry in discover() if entry.distribution.startswith("mahavishnu-")]


@pytest.mark.whole
def test_every_plugin_of_this_project_is_loaded():
    assert {"shell", "claude", "qwen", "sqlite"} <= {entry.name for entry in OURS}
    host = load_plugins({"MAHAVISHNU_PLUGINS": ",".join(entry.name for entry in OURS)})
    assert refused(host) == {}
    assert {plugin.name for plugin in host.loaded} == {"core", *(entry.name for entry in OURS)}


@pytest.mark.parametrize("module", ["mahavishnu_core.builtin", *(entry.value for entry in OURS)])
def test_no_hook_of_this_project_is_a_coroutine_function(module):
    functions = vars(import_module(module)).values()
    hooks = [function for function in functions if hasattr(function, "mahavishnu_impl")]
    assert hooks
    assert not [hook for hook in hooks if iscoroutinefunction(hook) or isasyncgenfunction(hook)]
