"""On a terminal: the live view, the summary, and agents' words that must not become anything else."""

from __future__ import annotations

import os
import signal

import pytest


def _start(home, terminal, *arguments):
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    return home.start("workers", *arguments, start_new_session=True, **ends)


def test_the_live_view_shows_a_line_a_worker_and_sums_up(home, terminal, waiting, bell, gate):
    process = _start(home, terminal, "execute", "-t", "shell", "-n", "1", "-p", waiting)
    bell.heard()
    terminal.until("running")
    terminal.until("begun")
    terminal.until("1 under way")
    gate.let_in()
    seen = terminal.all()
    assert process.wait() == 0
    assert "1 successful, 0 failed" in seen
    assert "unknown" in seen.rpartition("first line")[2]  # nobody told a cost: that is not 0
    assert "$0" not in seen


def test_words_of_an_agent_are_no_markup_and_no_control_characters(home, terminal):
    process = _start(
        home,
        terminal,
        "execute",
        "-t",
        "shell",
        "-n",
        "1",
        "-p",
        r"printf '[bold red]x[/] \033]0;owned\007\n'",
    )
    seen = terminal.all()
    assert process.wait() == 0
    assert "[bold red]x[/]" in seen
    assert r"\x1b]0;owned\x07" in seen
    assert "\x1b]0;owned" not in seen


def test_ctrl_c_on_the_terminal_cancels(home, terminal, waiting, bell):
    process = _start(home, terminal, "execute", "-t", "shell", "-n", "1", "-p", waiting)
    bell.heard()
    terminal.until("running")
    os.killpg(process.pid, signal.SIGINT)  # what the terminal does with ^C
    terminal.until("cancelling (again to kill at once)")
    seen = terminal.all()
    assert process.wait() == 130
    assert "0 successful, 1 failed" in seen


def test_monitor_shows_what_runs_and_ends_with_it(home, terminal, waiting, bell, gate):
    task = home.detach(waiting)
    bell.heard()
    process = _start(home, terminal, "monitor")
    terminal.until(task["worker_id"])
    gate.let_in()
    assert "completed" in terminal.all()
    assert process.wait() == 0


def test_a_terminal_that_is_closed_cancels_as_a_hangup_does(home, terminal, waiting, bell):
    process = _start(home, terminal, "execute", "-t", "shell", "-n", "1", "-p", waiting)
    bell.heard()
    terminal.until("running")
    os.close(terminal.slave)
    os.dup2(os.open(os.devnull, os.O_RDONLY), terminal.master)  # every further write of the program fails
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 129
    assert home.run("workers", "results", "--json").json[0]["status"] == "cancelled"


@pytest.mark.parametrize("name", ["TERM", "NO_COLOR"])
def test_a_terminal_without_colours_gets_none(home, terminal, monkeypatch, name):
    monkeypatch.setenv(name, "dumb")
    process = _start(home, terminal, "execute", "-t", "shell", "-n", "1", "-p", "true")
    seen = terminal.all()
    assert process.wait() == 0
    assert "\x1b[32m" not in seen
    assert ("\x1b[" in seen) == (name == "NO_COLOR")


@pytest.mark.thorough
def test_a_file_for_the_results_leaves_the_live_view_on_the_terminal(home, terminal):
    with (home.work / "out.json").open("w") as file:
        process = home.start(
            *("workers", "execute", "-t", "shell", "-n", "1", "-p", "echo hi", "--json"),
            stdout=file,
            stderr=terminal.slave,
        )
        seen = terminal.all()
    assert process.wait() == 0
    assert '"output": "hi"' in (home.work / "out.json").read_text()
    assert "completed" in seen


def test_a_narrow_terminal_shows_what_says_most(home, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    process = _start(home, terminal, "execute", "-t", "shell", "-n", "1", "-p", "echo some words")
    summary = terminal.all().rpartition("first line")[2].splitlines()[1]
    assert process.wait() == 0
    (worker,) = home.run("workers", "list", "--json").json
    assert summary.split() == [worker["worker_id"], "completed", "0.0", "s", "some", "words"]
