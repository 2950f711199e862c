"""The walls between the parts, and how large they may get; ``pytest -rP`` on this file shows the figures."""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

import mahavishnu_core

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "mahavishnu_core").rglob("*.py"))
KEEPER = sorted((ROOT / "mahavishnu_core/keeper").rglob("*.py"))
PLUGINS = {path.name: sorted(path.rglob("*.py")) for path in sorted(ROOT.glob("plugins/*/mahavishnu_*"))}
HOOKS = [path for paths in PLUGINS.values() for path in paths if path.name == "hooks.py"]
CODE = [*CORE, *(path for paths in PLUGINS.values() for path in paths)]

PUBLIC = {*mahavishnu_core.__all__, "__version__"}
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@attrs.frozen
class Import:
    """A name that a file takes from a module; an empty one for the module itself."""

    place: str
    module: str
    name: str

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.place}: {self.module}" + (f" ({self.name})" if self.name else "")


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> list[Import]:
    """Every import of a file, wherever in it."""
    found, file = [], path.relative_to(ROOT)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found += [Import(f"{file}:{node.lineno}", alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [Import(f"{file}:{node.lineno}", module, alias.name) for alias in node.names]
    return found


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_core_imports_no_plugin() -> None:
    found = [each for path in CORE for each in imports(path) if each.package.startswith("mahavishnu_")]
    assert [str(each) for each in found if each.package != "mahavishnu_core"] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_only_public_names_of_the_core(plugin: str) -> None:
    found = [each for path in PLUGINS[plugin] for each in imports(path) if each.package == "mahavishnu_core"]
    assert [str(each) for each in found if not _is_public(each)] == []


def _is_public(found: Import) -> bool:
    if found.module == "mahavishnu_core":
        return found.name in PUBLIC
    return found.module.removeprefix("mahavishnu_core.") in PUBLIC and not found.name.startswith("_")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_no_other_plugin(plugin: str) -> None:
    found = [
        each for path in PLUGINS[plugin] for each in imports(path) if each.package.startswith("mahavishnu_")
    ]
    assert [str(each) for each in found if each.package not in {plugin, "mahavishnu_core"}] == []


@pytest.mark.parametrize("hooks", HOOKS, ids=lambda path: path.parent.name)
def test_a_module_of_hooks_loads_nothing_but_the_marker(hooks: Path) -> None:
    loaded = [
        ast.unparse(node) for node in parse(hooks).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert set(loaded) == {
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
        "from mahavishnu_core import hookimpl",
    }


def test_the_keeper_imports_the_standard_library_and_itself() -> None:
    found = [each for path in KEEPER for each in imports(path) if each.package not in sys.stdlib_module_names]
    assert [str(each) for each in found if not each.module.startswith("mahavishnu_core.keeper")] == []


def test_nothing_imports_asyncio() -> None:
    paths = [*CODE, *ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
    paths = [
        path for path in paths if "asyncio" in path.read_text()
    ]  # to take all of them apart takes seconds
    assert [str(each) for path in paths for each in imports(path) if each.package == "asyncio"] == []


def test_what_is_under_the_gpl_is_in_one_plugin_alone() -> None:
    naming = [path for path in CODE if "iterm2" in path.read_text()]
    users = {path for path in naming for each in imports(path) if each.package == "iterm2"}
    assert {path.relative_to(ROOT).parts[1] for path in users} == {"mahavishnu-debug-monitor"}
    files = [
        ROOT / "pyproject.toml",
        *ROOT.glob("plugins/*/pyproject.toml"),
        *ROOT.glob("contrib/*/pyproject.toml"),
    ]
    projects = [tomllib.loads(path.read_text())["project"] for path in files]
    licenses = {project["name"]: project.get("license") for project in projects}
    assert licenses.pop("mahavishnu-debug-monitor") == "GPL-2.0-or-later"
    assert set(licenses.values()) <= {"MIT", None}
    needs = [project["name"] for project in projects if "debug-monitor" in str(project["dependencies"])]
    assert needs == []


def test_every_implementation_of_a_hook_is_a_plain_function() -> None:
    implementations = [
        (path, function)
        for path in CODE
        for function in functions(path)
        if any(ast.unparse(decorator).startswith("hookimpl") for decorator in function.decorator_list)
    ]
    assert len(implementations) > len(PLUGINS)
    odd = [
        f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}"
        for path, function in implementations
        if isinstance(function, ast.AsyncFunctionDef) or len(function.decorator_list) > 1
    ]
    assert odd == []


def test_every_module_says_what_it_is_for() -> None:
    assert [str(path.relative_to(ROOT)) for path in CODE if not ast.get_docstring(parse(path))] == []


def test_modules_and_functions_are_not_too_large() -> None:
    modules = {str(path.relative_to(ROOT)): lines_of_code(path) for path in CODE}
    lengths = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": (function.end_lineno or 0)
        - function.lineno
        + 1
        for path in CODE
        for function in functions(path)
    }
    print(figures(modules, lengths))
    assert {name: lines for name, lines in modules.items() if lines > MOST_LINES_OF_A_MODULE} == {}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def lines_of_code(path: Path) -> int:
    """Lines that hold code; docstrings count, comments and empty lines do not."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    lines = set[int]()
    for token in tokens:
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def figures(modules: dict[str, int], functions: dict[str, int]) -> str:
    by_size = sorted(modules.items(), key=lambda item: -item[1])
    lengths = sorted(functions.values())
    longest = sorted(functions.items(), key=lambda item: -item[1])[:5]
    head = f"{len(modules)} modules, {sum(modules.values())} lines of code, {len(lengths)} functions"
    spread = f"function length: median {statistics.median(lengths):g}, p90 {lengths[len(lengths) * 9 // 10]}"
    return "\n".join(
        [
            head,
            f"{spread}, max {lengths[-1]}",
            *(f"{lines:5} {name}" for name, lines in by_size),
            "longest functions:",
            *(f"{lines:5} {name}" for name, lines in longest),
        ]
    )
