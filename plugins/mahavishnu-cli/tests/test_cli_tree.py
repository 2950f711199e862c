"""The tree of commands: every help text, and what is not imported for it."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from mahavishnu_cli.lazy import LazyCommand, LazyGroup
from mahavishnu_cli.tree import COMMANDS

HEAVY = {
    "trio",
    "cattrs",
    "yaml",
    "rich",
    "msgspec",
    "orjson",
    "platformdirs",
    "tomlkit",
    "sqlite3",
    "asyncio",
    "anyio",
    "h11",
    "mcp",
    "mcp_types",
    "pydantic",
    "starlette",
}


def _lazy_commands(
    commands: list[click.Command], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], LazyCommand]]:
    found = []
    for command in commands:
        here = (*path, command.name)
        if isinstance(command, LazyGroup):
            found += _lazy_commands(list(command.commands.values()), here)
        else:
            found.append((here, command))
    return found


ALL = _lazy_commands(list(COMMANDS))


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_every_command_has_a_help_text_with_an_example_of_itself(home, path):
    ran = home.run(*path, "-h")
    assert ran.status == 0
    examples = ran.out.partition("Examples:\n")[2]
    assert f"mahavishnu {' '.join(path)}" in examples


@pytest.mark.parametrize(("path", "stub"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_the_summary_in_a_list_is_the_first_sentence_of_the_command(path, stub):
    assert stub.load().get_short_help_str(limit=200) == stub.short_help
    assert stub.load().name == path[-1]


def test_the_groups_list_their_commands_in_the_order_of_use(home):
    out = home.run("workers", "--help").out
    assert out.index("  execute") < out.index("  batch") < out.index("  list") < out.index("  types")


def test_without_arguments_the_help_text_is_shown_as_wrong_usage(home):
    ran = home.run()
    assert ran.status == 2
    assert ran.out == ""
    assert "Usage: mahavishnu [OPTIONS] COMMAND" in ran.err


def test_the_version_is_that_of_the_core(home):
    from mahavishnu_core import __version__

    assert home.run("--version").out == f"mahavishnu {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["mcp", "--help"],
        ["mcp", "serve", "--help"],
        ["mcp", "install", "--help"],
        ["workers", "list"],
        ["workers", "list", "--json"],
    ],
    ids=" ".join,
)
def test_help_and_an_empty_list_import_nothing_heavy(home, arguments):
    code = (
        "import json, sys; from mahavishnu_cli.main import run; "
        f"status = run({arguments!r}); sys.stderr.write(json.dumps([status, *sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, *modules = json.loads(done.stderr.splitlines()[-1].partition("[")[2].join(("[", "")))
    assert status == 0
    assert HEAVY.isdisjoint(modules)
    assert not any(name.startswith("mahavishnu_cli.commands.") for name in modules) or "list" in arguments


def test_a_list_without_open_tasks_needs_no_plugin(home):
    home.execute("true")
    code = (
        "import json, sys; from mahavishnu_cli.main import run; "
        "run(['workers', 'list']); sys.stderr.write(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "completed" in done.stdout
    assert {"trio", "pluggy", "mahavishnu_shell"}.isdisjoint(json.loads(done.stderr))


@pytest.mark.parametrize("group", ["workers", "results", "plugins", "config"])
def test_the_help_of_a_group_has_an_example_that_is_a_command(home, group):
    out = home.run(group, "--help").out
    example = out.partition("Example:\n")[2].strip()
    assert example.startswith(f"mahavishnu {group} ")
    assert home.run(group, example.split()[2], "--help").status == 0
