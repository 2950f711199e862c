"""Ctrl-C and its kin, detached tasks, and what is left when the command line itself is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def _execute(home, prompt: str, *more: str, **options: object) -> subprocess.Popen:
    return home.start("workers", "execute", "-t", "shell", "-n", "1", "-p", prompt, *more, **options)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_e2_a_signal_cancels_the_tasks_and_prints_their_results(home, waiting, bell, number, status):
    process = _execute(home, waiting, "--json")
    bell.heard()
    process.send_signal(number)
    ran = home.finish(process)
    assert ran.status == status
    assert "cancelling (again to kill at once)" in ran.err
    assert "Traceback" not in ran.err
    (result,) = ran.json
    assert (result["status"], result["output"]) == ("cancelled", "begun")
    assert json.loads(home.script("workers", "list", "--json").out)[0]["status"] == "cancelled"


def test_a_second_signal_kills_what_ignores_the_first(home, waiting, bell):
    process = _execute(home, f"trap '' TERM; {waiting}", "--json", bufsize=1)
    bell.heard()
    process.send_signal(signal.SIGINT)
    while "cancelling" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    ran = home.finish(process)
    assert ran.status == 130
    (result,) = ran.json
    assert result["status"] == "cancelled"
    assert result["metadata"]["evidence"]["signal"] == "SIGKILL"
    assert result["duration_seconds"] < 5  # the grace that a single signal leaves


@pytest.mark.thorough
def test_a_signal_that_the_caller_ignores_stays_ignored(home, waiting, bell, gate):
    process = _execute(home, waiting, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    bell.heard()
    process.send_signal(signal.SIGHUP)
    gate.let_in()
    ran = home.finish(process)
    assert (ran.status, ran.out[-23:]) == (0, "1 successful, 0 failed\n")


def test_a_task_outlives_a_killed_command_line_and_is_stored_once(home, waiting, bell, gate):
    process = _execute(home, f"echo nightingale; {waiting}")
    bell.heard()
    process.kill()
    home.finish(process)
    (listed,) = home.run("workers", "list", "--json").json
    assert listed["status"] == "running"
    gate.let_in()
    assert home.run("workers", "monitor", listed["worker_id"]).status == 0
    (listed,) = home.run("workers", "list", "--json").json
    assert listed["status"] == "completed"
    found = home.run("results", "search", "nightingale", "--json").json
    assert [result["output"] for result in found] == ["nightingale\nbegun\ndone"]


def test_a_task_that_ended_unseen_is_settled_by_the_next_list(home, waiting, bell, gate):
    process = _execute(home, waiting)
    bell.heard()
    process.kill()
    home.finish(process)
    gate.let_in()
    (exit_file,) = home.state.glob("workers/*/tasks/*")
    while not (exit_file / "exit.json").exists():  # the keeper writes it, nobody else looks
        os.sched_yield()
    assert not (exit_file / "result.json").exists()
    (listed,) = home.run("workers", "list", "--json").json
    assert listed["status"] == "completed"
    assert len(home.run("results", "search", "begun", "--json").json) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("follow", [["monitor"], ["logs", "-f"], ["logs", "-f", "--raw"]])
def test_a_signal_ends_the_following_and_never_the_task(home, waiting, bell, gate, follow):
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    home.run("workers", "execute", "--worker", worker_id, "-p", waiting, "--detach")
    bell.heard()
    process = home.start("workers", *follow, worker_id)
    stream = process.stderr if follow == ["monitor"] else process.stdout
    assert stream.readline()  # it follows
    process.send_signal(signal.SIGINT)
    assert home.finish(process).status == 130
    assert home.run("workers", "list", "--json").json[0]["status"] == "running"
    gate.let_in()
    assert home.run("workers", "monitor", worker_id).status == 0


@pytest.mark.thorough
def test_watching_does_not_cancel_what_waits_in_another_program(home, waiting, bell, gate, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MAX_CONCURRENT_WORKERS", "1")
    first, second = home.run("workers", "spawn", "-t", "shell", "-n", "2", "--json").json
    process = home.start(
        *("workers", "execute", "--worker", first, "--worker", second, "-p", waiting, "--json")
    )
    bell.heard()
    watching = home.start("workers", "monitor")
    assert "running" in watching.stderr.readline()
    gate.let_in()
    bell.heard()
    gate.let_in()
    assert home.finish(watching).status == 0
    assert [result["status"] for result in home.finish(process).json] == ["completed", "completed"]


@pytest.mark.thorough
def test_a_waiting_task_whose_worker_is_closed_elsewhere_never_runs(home, waiting, bell, gate, monkeypatch):
    monkeypatch.setenv("MAHAVISHNU_MAX_CONCURRENT_WORKERS", "1")
    prompt = f"echo ran >> log; {waiting}"
    process = home.start("workers", "execute", "-t", "shell", "-n", "2", "-p", prompt, "--json")
    bell.heard()
    (idle,) = [each for each in home.run("workers", "list", "--json").json if each["status"] == "pending"]
    assert home.run("workers", "close", idle["worker_id"]).status == 0
    gate.let_in()
    ran = home.finish(process)
    assert sorted(result["status"] for result in ran.json) == ["cancelled", "completed"]
    assert (home.work / "log").read_text() == "ran\n"


def test_e5_a_reader_that_leaves_does_not_end_the_task(home, waiting, bell, gate):
    process = _execute(home, waiting, "--jsonl")
    bell.heard()
    process.stdout.close()
    gate.let_in()
    process.stdout = None
    ran = home.finish(process)
    assert ran.status == 0
    assert "Traceback" not in ran.err
    assert home.run("workers", "results", "--json").json[0]["output"] == "begun\ndone"


def test_output_that_cannot_be_written_is_said_and_ends_in_1(home):
    with Path("/dev/full").open("w") as full:
        ran = home.script("workers", "types", stdout=full)
    assert ran.status == 1
    assert "cannot write the output: No space left on device" in ran.err


INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "mahavishnu_cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
import mahavishnu_cli.program
"""


def test_ctrl_c_before_anything_is_loaded_ends_it_without_a_word():
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, b"")
