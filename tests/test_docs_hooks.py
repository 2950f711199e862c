"""The pages for plugin authors: every hook has one, and every example on them is run as a reader would."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pluggy
import pytest

from mahavishnu_cli.new_plugin import NewPlugin
from mahavishnu_core.host import host_of, load_plugins
from mahavishnu_core.testing import contract
from mahavishnu_core.testing.contract.declared import HEAVY
from mahavishnu_core.testing.contract.subject import Subject, subject_of
from mahavishnu_core.testing.environs import MIRRORS_NOTHING
from tests.documents import ROOT, Document, all_documents, document
from tests.installed import opened


def _hooks() -> Iterator[tuple[str, str]]:
    """Each hook with its signature."""
    tree = ast.parse((ROOT / "mahavishnu_core/hookspecs.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(
            "hookspec" in ast.unparse(each) for each in node.decorator_list
        ):
            assert node.returns is not None
            yield node.name, f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"


SIGNATURES = dict(_hooks())
INDEX = document("docs/hooks/README.md")
TEN_MINUTES = document("docs/write-a-plugin.md")
MOST_LINES = 35
_SECTIONS = ["Pitfalls", "Example", "Try it"]


def page(hook: str) -> Document:
    return document(f"docs/hooks/{hook}.md")


def example(hook: str) -> str:
    return page(hook).blocks("python")[0]


# --- the pages


def test_every_hook_has_a_page_and_every_page_a_hook() -> None:
    pages = {path.stem for path in ROOT.glob("docs/hooks/*.md")} - {"README"}
    assert pages == set(SIGNATURES)


def test_the_index_has_every_page_and_how_its_hook_is_called() -> None:
    rows = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| [^|]+ \| ([^|]+) \|", INDEX.text, re.MULTILINE))
    assert {hook: how.removesuffix(", in a thread") for hook, how in rows.items()} == {
        hook: how_it_is_called(hook) for hook in SIGNATURES
    }


@pytest.mark.parametrize("hook", SIGNATURES)
def test_a_page_says_what_the_hook_is(hook: str) -> None:
    found = page(hook)
    assert found.headings()[0] == hook
    assert found.blocks("text") == [f"{SIGNATURES[hook]}\n"]
    assert [heading for heading in found.headings() if heading in _SECTIONS] == _SECTIONS
    assert len(found.blocks("python")) == 2
    rows = dict(re.findall(r"^\| (\w+) \| (.+) \|$", found.text, re.MULTILINE))
    assert {"who", "how", "when", "since"} <= set(rows)
    assert rows["since"] == "0.1"
    assert rows["how"].startswith(how_it_is_called(hook))
    arguments = ast.parse(f"def {SIGNATURES[hook].partition(' ->')[0]}: ...").body[0].args.args
    assert [each.arg for each in arguments if f"`{each.arg}`" not in found.text] == []


def how_it_is_called(hook: str) -> str:
    """In the words of the pages: by the mark of the hook, and by what it returns."""
    manager = pluggy.PluginManager("mahavishnu")
    manager.add_hookspecs(sys.modules["mahavishnu_core.hookspecs"])
    is_first = getattr(manager.hook, hook).spec.opts["firstresult"]
    kind = "async" if "Awaitable" in SIGNATURES[hook] else "sync"
    return f"{kind}, {'first result' if is_first else 'all'}"


def test_the_links_of_these_pages_are_among_those_that_are_followed() -> None:
    followed = {each.path for each in all_documents()}
    assert {*ROOT.glob("docs/hooks/*.md"), TEN_MINUTES.path} <= followed


# --- the examples


@pytest.mark.thorough
@pytest.mark.parametrize("hook", SIGNATURES)
def test_an_example_is_a_plugin_that_is_loaded(hook: str, tmp_path: Path) -> None:
    code = example(hook)
    assert ast.get_docstring(ast.parse(code))
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST_LINES
    assert max(map(len, code.splitlines())) <= 110
    with opened(tmp_path / "site") as site:
        module = site.install("example", code)
        host = load_plugins({"MAHAVISHNU_PLUGINS": "example"})
    assert [str(refused) for refused in host.refused] == []
    assert hook in host.loaded[-1].hooks
    heavy = f"import sys, {module}; print(*set({HEAVY!r}) & set(sys.modules))"
    assert run(tmp_path / "site", "-c", heavy) == "\n"


@pytest.mark.thorough
@pytest.mark.parametrize("hook", SIGNATURES)
def test_an_example_does_what_its_page_says(hook: str, tmp_path: Path, nothing_left: None) -> None:
    plugin, trial = page(hook).blocks("python")
    (tmp_path / "plugin.py").write_text(plugin)
    (tmp_path / "try_it.py").write_text(trial)
    assert run(tmp_path, "try_it.py") == ""


def run(directory: Path, *words: str) -> str:
    """What Python prints, with warnings as errors; nothing may be on standard error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAHAVISHNU_", "XDG_"))}
    environ = {**kept, "HOME": str(directory), "TMPDIR": str(directory), "PYTHONPATH": str(directory)}
    environ |= MIRRORS_NOTHING
    command = [sys.executable, "-W", "error", "-X", "dev", *words]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- how hooks change


def test_what_is_deprecated_warns_who_implements_it() -> None:
    specs: dict[str, object] = {}
    exec(INDEX.blocks("python")[0], specs)
    manager, hookimpl = pluggy.PluginManager("mahavishnu"), pluggy.HookimplMarker("mahavishnu")
    manager.add_hookspecs(type("Specs", (), specs))

    class Old:
        @hookimpl
        def recall(self, text): ...

    class OldArgument:
        @hookimpl
        def find(self, text, limit): ...

    class New:
        @hookimpl
        def find(self, text, page): ...

    with pytest.warns(DeprecationWarning, match="implement search_results"):
        manager.register(Old())
    with pytest.warns(DeprecationWarning, match="take 'page'"):
        manager.register(OldArgument())
    manager.register(New())


IMPLEMENTS = "from mahavishnu_core import hookimpl\nHOOK_API = 1\n@hookimpl{}\ndef {}: pass\n"


@pytest.mark.parametrize(
    "code",
    [
        "HOOK_API = 2",
        "HOOK_API = 0",
        "",
        IMPLEMENTS.format("", "recall(text)"),
        IMPLEMENTS.format("", "search_results(text, page)"),
    ],
)
def test_the_index_quotes_what_is_said_of_a_plugin_that_does_not_fit(code: str, tmp_path: Path) -> None:
    with opened(tmp_path / "site") as site:
        site.install("example", code)
        [refused] = load_plugins({"MAHAVISHNU_PLUGINS": "example"}).refused
    said = refused.reason.removeprefix("PluginValidationError: ").partition(" in plugin ")[0]
    assert f"| `{said}` |" in INDEX.text


def test_an_optional_hook_is_passed_over_by_a_core_that_does_not_have_it(tmp_path: Path) -> None:
    assert "`@hookimpl(optionalhook=True)`" in INDEX.text
    with opened(tmp_path / "site") as site:
        site.install("example", IMPLEMENTS.format("(optionalhook=True)", "recall(text)"))
        assert load_plugins({"MAHAVISHNU_PLUGINS": "example"}).refused == []


# --- write a plugin in ten minutes


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """The plugin that the page comes to, but for the last step: it declares nothing yet."""
    return subject_of(host_of({"robot": robot_module(tmp_path, monkeypatch, changes()[0])}), "robot")


def changes() -> tuple[str, str]:
    """What the page says to put into the plugin: the functions, and the line that declares what it tells."""
    _, functions, declared, _ = TEN_MINUTES.blocks("python")
    return functions, declared


def robot_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, functions: str):
    directory = NewPlugin("robot").write(tmp_path) / "mahavishnu_robot"
    for path in (directory / "samples").iterdir():
        path.unlink()
    output, fields = TEN_MINUTES.blocks("json")
    (directory / "samples/apple.jsonl").write_text(output)
    (directory / "samples/apple.json").write_text(fields)
    (directory / "parser.py").write_text(document("docs/plugins.md").blocks("python")[1])
    with (directory / "__init__.py").open("a") as module:
        module.write(f"\n\n{functions}")
    monkeypatch.syspath_prepend(directory.parent)
    for name in ("mahavishnu_robot", "mahavishnu_robot.parser"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.find_spec("mahavishnu_robot")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mahavishnu_robot", module)
    spec.loader.exec_module(module)
    return module


def lines(subject: Subject) -> list[str]:
    """What ``plugins check`` prints of a plugin, but for the rows that start processes."""
    outcomes = [row.outcome() for row in contract.rows_of(subject) if "agent " not in row.name]
    words = {"pass": "pass", "fail": "FAIL", "skip": "-   "}
    return [f"{words[each.state]}  {each.row.name}: {each.detail}" for each in outcomes]


def test_the_plugin_on_the_page_is_what_the_template_gives(tmp_path: Path) -> None:
    made = NewPlugin("robot").write(tmp_path)
    assert TEN_MINUTES.blocks("python")[0] == (made / "mahavishnu_robot/__init__.py").read_text()
    named = re.findall(r"^\| `([a-z_./]+[./]\w*)` \|", TEN_MINUTES.text, re.MULTILINE)
    assert [(name, (made / name).exists()) for name in named] == [
        ("pyproject.toml", True),
        ("mahavishnu_robot/__init__.py", True),
        ("mahavishnu_robot/samples/", True),
        ("tests/test_robot.py", True),
    ]


def test_the_sample_on_the_page_is_one(robot: Subject) -> None:
    [sample] = robot.samples
    assert (sample.name, sample.version, sample.output) == ("apple", "robot 1.4", "Here is the apple.")


@pytest.mark.thorough
def test_the_rows_on_the_page_are_what_the_check_shows(robot: Subject) -> None:
    _, check = TEN_MINUTES.blocks("console")
    shown = [line for line in check.splitlines() if line.startswith(("pass", "FAIL"))]
    installed = "pass  light: mahavishnu_robot"  # the test does not install it
    assert shown[0] == installed
    assert [line for line in lines(robot) if line in shown] == shown[1:]
    assert [line for line in lines(robot) if line.startswith("FAIL")] == [
        line for line in shown if line.startswith("FAIL")
    ]
    *_, total = check.splitlines()
    passed, failed, skipped = map(int, re.findall(r"\d+", total))
    assert (passed + failed + skipped, failed) == (len(contract.rows_of(robot)), 1)


def test_with_what_it_tells_the_robot_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions, declared = changes()
    head, _, rest = functions.partition("    yield ")
    module = robot_module(tmp_path, monkeypatch, head + declared + rest.partition("\n")[2])
    subject = subject_of(host_of({"robot": module}), "robot")
    assert subject.types[0].tells == ("tool_calls",)
    assert [line for line in lines(subject) if line.startswith("FAIL")] == []


def test_the_page_names_every_part_of_the_contract_with_its_rows(robot: Subject) -> None:
    rows = dict(re.findall(r"^\| (\w+) \| (`[^|]+`) \|", TEN_MINUTES.text, re.MULTILINE))

    class Observer:
        @pluggy.HookimplMarker("mahavishnu")
        def monitor(self, event): ...

    places = ("place_options", "sweep", "diagnose")
    yard = attrs.evolve(robot, hooks=places)  # the rows are looked at, not run
    storage = attrs.evolve(robot, hooks=("store_result", "backlog", "store_log"))
    subjects = [robot, storage, subject_of(host_of({"seen": Observer()}), "seen"), yard]
    for part in contract._PARTS:
        found = [row.name.removeprefix("robot: ") for subject in subjects for row in part.rows(subject)]
        kinds = dict.fromkeys(re.sub(r"^(sample|agent) .*", r"\1 NAME", name) for name in found)
        said = re.findall("`([^`]+)`", rows.pop(part.__name__.rpartition(".")[2]))
        assert said == list(kinds)
    assert rows == {}


def test_the_test_on_the_page_passes_with_a_robot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    robot_module(tmp_path, monkeypatch, changes()[0])
    program = tmp_path / "bin/robot"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{TEN_MINUTES.blocks('json')[0]}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where `nothing_left` looks
    names: dict[str, object] = {}
    exec(TEN_MINUTES.blocks("python")[-1], names)
    names["test_the_robot_fetches_an_apple"]()  # type: ignore[operator]  # a function
