"""The documents say what the code says: hooks, settings, reasons, commands, versions, links."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import attrs
import click
import pytest

import mahavishnu_core
from mahavishnu_cli.main import root
from mahavishnu_core.environment import ALLOWED
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.events import Event, event_name
from mahavishnu_core.models import WorkerResult, WorkerStatus
from mahavishnu_core.settings.schema import Settings, WorkerOverride
from tests.documents import ROOT, Document, all_documents, document

GUIDE = document("docs/guide.md")
PROJECTS = [
    ROOT / "pyproject.toml",
    *sorted(ROOT.glob("plugins/*/pyproject.toml")),
    *sorted(ROOT.glob("contrib/mahavishnu-*/pyproject.toml")),
]
_WORD = re.compile(r"[a-z]{2,}(_[a-z]+)*")
_DECIDES = {"_judge", "_timed_out", "_without_result", "_with_result", "_warnings"}


def missing(words: set[str]) -> set[str]:
    """The words that the guide does not have as code."""
    return {word for word in words if f"`{word}`" not in GUIDE.text}


# --- settings


@pytest.mark.parametrize("kind", [Settings, WorkerOverride])
def test_every_setting_is_in_the_guide(kind: type[attrs.AttrsInstance]) -> None:
    assert missing({field.name for field in attrs.fields(kind)}) == set()


def test_the_defaults_in_the_guide_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\S+)` \|", GUIDE.text, re.MULTILINE))
    built_in = attrs.asdict(Settings())
    plain = {name: value for name, value in built_in.items() if name not in {"roles", "workers"}}
    said = {
        name: str(value).lower() if isinstance(value, bool) else str(value) or '""'
        for name, value in plain.items()
    }
    assert {name: rows.get(name) for name in said} == {**said, "pass_env": "[]"}


def test_every_variable_that_workers_get_is_in_the_guide() -> None:
    assert missing({name for name in ALLOWED if name.upper() == name}) == set()


# --- results


def reasons_of_the_verdict() -> set[str]:
    """Every word that the functions of the verdict know: statuses' reasons, causes, warnings."""
    tree = ast.parse((ROOT / "mahavishnu_core/verdict.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in _DECIDES]
    assert {function.name for function in functions} == _DECIDES
    return {word for function in functions for node in ast.walk(function) for word in _words(node)}


def reasons_of_agents() -> set[str]:
    """What parsers give as a reason: by ``reason=``, in a table, or from a function of that name."""
    paths = [*ROOT.glob("mahavishnu_core/stream/*.py"), *ROOT.glob("plugins/*/mahavishnu_*/*.py")]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    return {word for node in nodes for part in _reasons(node) for word in _answers(part)}


def _reasons(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case (
            ast.keyword(arg="reason", value=value) | ast.Assign(targets=[ast.Name(id="reason")], value=value)
        ):
            yield value
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(values=values)) if name.startswith(
            "_BY_"
        ):
            yield from values
        case ast.FunctionDef(name="reason" | "_reason"):
            yield from (each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value)


def _answers(node: ast.AST) -> Iterator[str]:
    """The words that an expression may come to: of ``table.get(key, default)`` the default alone."""
    yield from _words(node)
    for child in node.args[1:] if isinstance(node, ast.Call) else ast.iter_child_nodes(node):
        yield from _answers(child)


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORD.fullmatch(node.value):
        yield node.value


def test_every_reason_and_warning_of_the_verdict_is_in_the_guide() -> None:
    words = reasons_of_the_verdict()
    assert {"no_result", "exit_status", "strays_ended", "exit_unknown"} < words
    assert missing(words) == set()


def test_every_reason_of_an_agent_is_in_the_guide() -> None:
    words = reasons_of_agents()
    assert {"rate_limited", "session_lost", "execution_error", "signal"} < words
    assert missing(words) == set()


def test_every_field_of_a_result_and_every_status_is_in_the_guide() -> None:
    assert missing({field.name for field in attrs.fields(WorkerResult)}) == set()
    assert missing({status.value for status in WorkerStatus}) == set()


def test_every_event_is_in_the_guide() -> None:
    kinds = get_args(Event)
    assert missing({event_name(kind) for kind in kinds}) == set()
    assert missing({field for kind in kinds for field in kind.__struct_fields__}) == set()


def test_every_exit_status_of_an_error_is_in_the_guide() -> None:
    def kinds(kind: type[MahavishnuError]) -> Iterator[type[MahavishnuError]]:
        yield kind
        for below in kind.__subclasses__():
            yield from kinds(below)

    said = set(re.findall(r"^\| (\d) \|", GUIDE.text, re.MULTILINE))
    assert {str(kind.exit_status) for kind in kinds(MahavishnuError)} <= said


# --- commands


def commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("command", list(commands(root, "mahavishnu")))
def test_every_command_is_in_the_guide(command: str) -> None:
    assert f"`{command}" in GUIDE.text


# --- the README and the rest


def test_the_first_command_of_the_readme_sets_up_and_runs_the_main_job() -> None:
    set_up, job = document("README.md").blocks("sh")[0].split("\n", 1)
    assert set_up.startswith("python3 -m venv .venv && .venv/bin/python -m pip install ")
    assert set_up.endswith(" -c constraints.txt . ./plugins/*")
    assert job.startswith(".venv/bin/mahavishnu workers execute --type shell --count 3 --prompt '")


def test_the_second_command_of_the_readme_sets_up_and_passes_the_tests() -> None:
    command = document("README.md").blocks("sh")[1]
    assert command == (
        "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements-dev.txt "
        "&& .venv/bin/python -m pytest\n"
    )
    assert document("CONTRIBUTING.md").blocks("sh")[0] == command


def test_the_readme_gives_the_same_job_for_claude_and_qwen_right_below() -> None:
    below = document("README.md").blocks("sh")[2]
    job = 'mahavishnu workers execute --type terminal-{} --count 3 --prompt "Implement a REST API"'
    assert job.format("claude") in below
    assert job.format("qwen") in below


@pytest.mark.parametrize("page", all_documents(), ids=lambda page: str(page.path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Document) -> None:
    assert [link for link in page.links() if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Document, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.path.parent / name).resolve() if name else page.path
    return target.exists() and (not anchor or anchor in Document(target).anchors())


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda path: path.stem)
def test_a_decision_is_one_short_page(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert [part for part in ("**Context.**", "**Decision.**", "**Consequence.**") if part not in text] == []
    assert len(text.splitlines()) <= 25


# --- distributions


def test_all_distributions_have_one_version_and_need_that_of_the_core() -> None:
    projects = [tomllib.loads(path.read_text())["project"] for path in PROJECTS]
    [version] = {project["version"] for project in projects}
    assert version == mahavishnu_core.__version__
    major, minor, _ = map(int, version.split("."))
    needed = f"mahavishnu-core>={major}.{minor},<{major}.{minor + 1}"
    assert [project["name"] for project in projects[1:] if needed not in project["dependencies"]] == []


def test_the_changes_name_this_version() -> None:
    assert mahavishnu_core.__version__ in document("CHANGELOG.md").headings()


def test_the_development_requirements_list_every_distribution() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    wanted = ["-e .", *(f"-e ./{path.parent.relative_to(ROOT)}" for path in PROJECTS[1:])]
    assert [line for line in lines if line.startswith("-e ")] == wanted


def test_every_plugin_has_a_readme_that_its_distribution_names() -> None:
    lacking = [
        path.parent.name
        for path in PROJECTS
        if tomllib.loads(path.read_text())["project"].get("readme") != "README.md"
        or not (path.parent / "README.md").read_text().startswith("# ")
    ]
    assert lacking == []
