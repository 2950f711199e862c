"""Plugins at the command line: broken ones are named and harm nobody, commands of sound ones are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMANDS = """
import click
from mahavishnu_core import hookimpl
HOOK_API = 1

@hookimpl
def register_commands(cli):
    @cli.command()
    def hello():
        "Greet."
        click.echo("hello from a plugin")
"""
CHATTY = """
import click
from mahavishnu_core import hookimpl
HOOK_API = 1
print("imported")

@hookimpl
def worker_types():
    print("asked")
    return []

@hookimpl
def monitor(event):
    print("observed")
    click.echo("echoed")
"""
THIEF = """
import click
from mahavishnu_core import hookimpl
HOOK_API = 1

@hookimpl
def register_commands(cli):
    cli.add_command(click.Command("workers"))
"""
REFUSED = "plugin 'broken' (mahavishnu-broken 1.0) not loaded: ModuleNotFoundError: No module named 'nowhere'"


def test_a_broken_plugin_is_one_line_and_the_work_goes_on(home, plugin):
    plugin("broken", "import nowhere\n")
    ran = home.script("workers", "execute", "-t", "shell", "-n", "1", "-p", "echo hi")
    assert ran.status == 0
    assert ran.err.count(REFUSED) == 1
    assert "Traceback" not in ran.err
    assert REFUSED not in home.script("--no-plugins", "--help").err


def test_the_list_tells_loaded_from_refused_with_the_reason(home, plugin):
    plugin("broken", "import nowhere\n")
    found = {each["name"]: each for each in home.script("plugins", "list", "--json").json["plugins"]}
    assert found["shell"]["state"] == "loaded"
    assert found["shell"]["distribution"] == "mahavishnu-shell"
    assert "execute" in found["shell"]["hooks"]
    assert found["broken"] == {
        "name": "broken",
        "distribution": "mahavishnu-broken",
        "version": "1.0",
        "state": "refused",
        "hooks": [],
        "reason": "ModuleNotFoundError: No module named 'nowhere'",
    }
    assert "Traceback" in home.script("plugins", "list", "-v").out


def test_a_plugin_adds_commands(home, plugin):
    plugin("greeter", COMMANDS)
    assert "Greet." in home.script("--help").out
    assert home.script("hello").out == "hello from a plugin\n"


def test_a_plugin_cannot_replace_a_command(home, plugin):
    plugin("thief", THIEF)
    ran = home.script("--help")
    assert ran.status == 0
    assert "plugin 'thief'" in ran.err
    assert "there is a command 'workers' already" in ran.err
    assert home.script("workers", "list").status == 0


def test_a_plugin_that_exits_does_not_end_the_command_line(home, plugin):
    plugin("leaver", "raise SystemExit(9)\n")
    ran = home.script("workers", "types")
    assert ran.status == 0
    assert "plugin 'leaver'" in ran.err


@pytest.mark.parametrize("style", ["--json", "--jsonl"])
def test_what_a_plugin_prints_is_not_among_the_results(home, plugin, style):
    plugin("chatty", CHATTY)
    ran = home.script("workers", "execute", "-t", "shell", "-n", "1", "-p", "echo hi", style)
    assert ran.status == 0
    result = ran.json[0] if style == "--json" else ran.json_lines[-1]
    assert result["output"] == "hi"
    assert {"imported", "asked", "observed", "echoed"} <= set(ran.err.splitlines())


@pytest.mark.thorough
def test_what_a_plugin_prints_is_neither_in_a_help_text_nor_among_completions(home, plugin, monkeypatch):
    plugin("chatty", CHATTY)
    ran = home.script("--help")
    assert ran.out.startswith("Usage: mahavishnu")
    assert "imported" in ran.err
    monkeypatch.setenv("_MAHAVISHNU_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "mahavishnu workers execute -t sh")
    monkeypatch.setenv("COMP_CWORD", "4")
    ran = home.script()
    assert (ran.out, "asked" in ran.err) == ("plain,shell\n", True)


def test_after_a_command_standard_output_is_as_before(home):
    before = sys.stdout
    home.run("workers", "types")
    assert sys.stdout is before


def test_the_rescue_path_needs_no_command_line(home, plugin):
    plugin("broken", "import nowhere\n")
    without_click = "import sys; sys.modules['click'] = None; sys.argv = ['mahavishnu_core', 'plugins', '-v']"
    code = f"{without_click}; import runpy; runpy.run_module('mahavishnu_core', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert REFUSED in done.stdout
    assert "shell (mahavishnu-shell " in done.stdout
    assert "Traceback" in done.stdout
    assert (
        subprocess.run([sys.executable, "-m", "mahavishnu_core", "nonsense"], capture_output=True).returncode
        == 2
    )
