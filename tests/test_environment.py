"""Which variables a command gets: an allow-list, what its type names, and the marks of its task."""

from __future__ import annotations

import pytest

from mahavishnu_core import Command
from mahavishnu_core.environment import ALLOWED, CallersEnvironment

CALLER = {
    "PATH": "/bin",
    "HOME": "/home/x",
    "LC_ALL": "C",
    "XDG_CACHE_HOME": "/home/x/.cache",
    "https_proxy": "http://proxy",
    "ANTHROPIC_API_KEY": "sk-a",
    "ANTHROPIC_BASE_URL": "http://a",
    "OPENAI_API_KEY": "sk-o",
    "AWS_SECRET_ACCESS_KEY": "aws",
    "CLAUDECODE": "1",
    "PYTHONPATH": "/evil",
    "LD_PRELOAD": "evil.so",
    "MAHAVISHNU_MCP_TOKEN": "the key to our own door",
    "MAHAVISHNU_SESSION_BUDDY_TOKEN": "the key to where results go",
    "MAHAVISHNU_STATE_DIR": "/state",
    "MAHAVISHNU_TASK": "outer.1",
    "SSH_AUTH_SOCK": "/agent",
}
COMMAND = Command(argv=("x",))


def test_k2_a_command_gets_what_everybody_needs_and_the_mark_of_its_task():
    assert CallersEnvironment(CALLER).compose(COMMAND, "w1.2") == {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C",
        "XDG_CACHE_HOME": "/home/x/.cache",
        "https_proxy": "http://proxy",
        "MAHAVISHNU_STATE_DIR": "/state",
        "MAHAVISHNU_TASK": "w1.2",
        "MAHAVISHNU_DEPTH": "1",
    }


def test_a_worker_finds_the_callers_state_directory_from_wherever_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = CallersEnvironment({"MAHAVISHNU_STATE_DIR": "state"}).compose(COMMAND, "w1.2")
    assert given["MAHAVISHNU_STATE_DIR"] == str(tmp_path / "state")


def test_a_vendors_variables_go_to_its_own_command_only():
    given = CallersEnvironment(CALLER).compose(Command(argv=("x",), pass_env=("ANTHROPIC_*",)), "w1.2")
    assert {name for name in given if name.endswith(("_KEY", "_URL"))} == {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
    }


def test_what_is_to_be_dropped_is_dropped_whoever_let_it_in():
    command = Command(argv=("x",), pass_env=("CLAUDE*", "HOME"), drop_env=("CLAUDECODE", "LC_*"))
    given = CallersEnvironment(CALLER).compose(command, "w1.2")
    assert "CLAUDECODE" not in given
    assert "LC_ALL" not in given
    assert given["HOME"] == "/home/x"


def test_what_the_command_itself_sets_wins():
    command = Command(argv=("x",), env={"PATH": "/own", "NEW": "1"}, drop_env=("NEW",))
    given = CallersEnvironment(CALLER).compose(command, "w1.2")
    assert (given["PATH"], given["NEW"]) == ("/own", "1")


def test_nobody_can_forge_the_mark():
    command = Command(argv=("x",), env={"MAHAVISHNU_TASK": "other.1"}, pass_env=("MAHAVISHNU_*",))
    assert CallersEnvironment(CALLER).compose(command, "w1.2")["MAHAVISHNU_TASK"] == "w1.2"


@pytest.mark.parametrize(
    "pattern", ["MAHAVISHNU_MCP_TOKEN", "MAHAVISHNU_SESSION_BUDDY_TOKEN", "MAHAVISHNU_*"]
)
def test_no_worker_gets_our_own_keys_whoever_lets_them_in(pattern):
    given = CallersEnvironment(CALLER).compose(Command(argv=("x",), pass_env=(pattern,)), "w1.2")
    assert not given.keys() & {"MAHAVISHNU_MCP_TOKEN", "MAHAVISHNU_SESSION_BUDDY_TOKEN"}
    assert given["MAHAVISHNU_STATE_DIR"] == "/state"


@pytest.mark.parametrize(("callers", "commands"), [("", "1"), ("1", "2"), ("9", "10"), ("junk", "1")])
def test_a_command_is_one_deeper_than_its_caller(callers, commands):
    given = CallersEnvironment(CALLER | {"MAHAVISHNU_DEPTH": callers}).compose(COMMAND, "w1.2")
    assert given["MAHAVISHNU_DEPTH"] == commands


@pytest.mark.parametrize(
    "terms",
    [
        {"env": {"MAHAVISHNU_DEPTH": "0"}},
        {"pass_env": ("MAHAVISHNU_*",)},
        {"drop_env": ("MAHAVISHNU_DEPTH",)},
    ],
    ids=lambda terms: next(iter(terms)),
)
def test_nobody_can_forge_the_depth(terms):
    caller = CallersEnvironment(CALLER | {"MAHAVISHNU_DEPTH": "2"})
    assert caller.compose(Command(argv=("x",), **terms), "w1.2")["MAHAVISHNU_DEPTH"] == "3"


def test_patterns_tell_upper_case_from_lower():
    assert "path" not in CallersEnvironment({"path": "/lower"}).compose(COMMAND, "w1.2")


@pytest.mark.parametrize(
    "word", ["KEY", "TOKEN", "SECRET", "PASSWORD", "ANTHROPIC", "OPENAI", "PYTHON", "LD_"]
)
def test_no_secret_and_no_loader_is_on_the_allow_list(word):
    assert not [name for name in ALLOWED if word in name.upper()]
