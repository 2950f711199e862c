"""Debug runs as people start them: a monitor opens, stays, is used again, and is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from mahavishnu_core.app import App
from mahavishnu_core.debug_log import path_in

from .standing import set_options

pytestmark = [pytest.mark.window, pytest.mark.whole]

PROGRAM = Path(sys.executable).with_name("mahavishnu")
PATIENCE = 30
"""Seconds for what takes one: a test that needs them has failed."""
SHELL = ("workers", "execute", "-t", "shell", "-n", "1", "-p")
WAITING = "echo begun; until [ -e go ]; do sleep 0.02; done; echo done"
"""A prompt of which the test says when it is done."""
HANGING, BROKEN = "exec sleep 1000", "echo 'no room for a server' >&2; exit 1"
SLOW = f'sleep 0.5; exec {shutil.which("tmux")} "$@"'
"""What a tmux does that is in the way."""
VOLATILE = {"worker_id", "task_id", "timestamp", "duration_seconds"}


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it has not come to pass"
        time.sleep(0.02)


@attrs.frozen
class Ran:
    """The program, ended or not, and what it has said so far."""

    process: subprocess.Popen[bytes]
    _says: Path

    @property
    def out(self) -> str:
        return self._says.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self._says.with_suffix(".err").read_text()

    @property
    def monitor(self) -> str:
        """The worker that it says shows the log, once it says so."""
        until(lambda: "stays open; end it with" in self.err)
        (worker_id,) = re.findall(r"(\w+): stays open; end it with 'mahavishnu workers close \1'", self.err)
        return str(worker_id)

    @property
    def status(self) -> int:
        return self.process.wait(PATIENCE)

    def told(self) -> list[object]:
        """What it put out as JSON, without what is another each time."""
        known = {"object_hook": lambda record: {k: v for k, v in record.items() if k not in VOLATILE}}
        return [json.loads(line, **known) for line in self.out.splitlines()]


@attrs.define
class User:
    """Somebody with a home, a working directory and a state directory of their own."""

    app: App
    work: Path
    path: str = os.environ["PATH"]
    begun: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    @property
    def log(self) -> Path:
        return path_in(self.app.state.root)

    def start(self, *words: str, **environ: str) -> Ran:
        says = self.work.parent / f"said-{len(self.begun)}"
        with says.with_suffix(".out").open("wb") as out, says.with_suffix(".err").open("wb") as err:
            env = {**os.environ, "PATH": self.path, **environ}
            process = subprocess.Popen(
                [PROGRAM, *words], cwd=self.work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.begun.append(process)
        return Ran(process, says)

    def run(self, *words: str, **environ: str) -> Ran:
        ran = self.start(*words, **environ)
        ran.process.wait(PATIENCE)
        return ran

    def start_waiting(self, *words: str) -> Ran:
        """A debug run whose task waits for the file ``go``, once it has begun and its monitor is there."""
        ran = self.start("--debug", *SHELL, WAITING, *words)
        assert ran.monitor
        until(lambda: " running" in ran.err)
        return ran

    def let_go(self) -> None:
        (self.work / "go").touch()

    def statuses(self) -> dict[str, str]:
        """Of all open workers."""
        listed = json.loads(self.run("workers", "list", "--json").out)
        return {each["worker_id"]: each["status"] for each in listed}

    def monitors(self) -> list[str]:
        """Those that are open."""
        workers = self.app.state.workers()
        return [worker.worker_id for worker in workers if worker.type.name == "debug-monitor"]

    def tmux(self, worker_id: str, *words: str) -> str:
        """What the tmux of a monitor answers; nothing where there is none."""
        command = ["tmux", "-L", f"mahavishnu-{worker_id}", *words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def break_tmux(self, does: str, window: str = "auto") -> None:
        set_options(self.app, window=window)
        script = self.work.parent / "bin/tmux"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{does}\n")
        script.chmod(0o755)
        self.path = f"{script.parent}:{self.path}"


@pytest.fixture
def user(app: App, tmux_directory: Path, tmp_path: Path) -> Iterator[User]:
    if shutil.which("tmux") is None:
        if os.environ.get("MAHAVISHNU_REQUIRE_WINDOWS"):
            pytest.fail("MAHAVISHNU_REQUIRE_WINDOWS is set, and tmux is not installed")
        pytest.skip("tmux is not installed")
    set_options(app, window="tmux")
    (tmp_path / "work").mkdir()
    made = User(app, tmp_path / "work")
    yield made
    for process in made.begun:
        process.kill()
        process.wait()
    made.run("workers", "close", "--all")
    assert app.state.workers() == []


# --- what a monitor is good for


def test_a_debug_run_opens_a_monitor_that_stays_open_until_it_is_closed(user: User) -> None:
    ran = user.run("--debug", *SHELL, "echo hello")
    assert ran.status == 0
    assert f"{ran.monitor}: in tmux, attach with 'tmux -L mahavishnu-{ran.monitor} attach'\n" in ran.err
    assert f"{ran.monitor}: its lines go to sqlite\n" in ran.err
    assert f"{ran.monitor}: shows {user.log}; see it later" in ran.err
    assert user.statuses()[ran.monitor] == "running"
    assert user.tmux(ran.monitor, "list-sessions").count("\n") == 1
    assert user.run("workers", "close", ran.monitor).out == "closed 1 worker\n"
    assert user.tmux(ran.monitor, "list-sessions") == ""
    (result,) = json.loads(user.run("workers", "results", ran.monitor, "--json").out)
    assert result["status"] == "cancelled"


def test_what_it_shows_is_told_by_logs_and_found_by_search(user: User) -> None:
    monitor = user.run("--debug", *SHELL, "echo hello").monitor
    until(lambda: "engine_closed" in user.run("workers", "logs", monitor).out)
    shown = user.run("workers", "logs", monitor).out.splitlines()
    log = user.log.read_text().splitlines()
    assert [line for line in shown if line.startswith("{")] == log
    assert [json.loads(line)["event"] for line in log].count("task_given") == 1
    until(lambda: f"=== {monitor}" in user.run("results", "search", "engine_closed").out)


def test_the_next_debug_run_is_shown_by_the_same_monitor(user: User) -> None:
    first = user.run("--debug", *SHELL, "echo hello")
    second = user.run("--debug", *SHELL, "echo again")
    assert (second.status, second.monitor) == (0, first.monitor)
    assert user.monitors() == [first.monitor]
    until(lambda: '"echo again"' in user.tmux(first.monitor, "capture-pane", "-p", "-J"))


def test_one_that_was_opened_by_hand_says_how_to_see_it_and_is_used(user: User) -> None:
    ran = user.run("workers", "spawn", "-t", "debug-monitor")
    monitor = ran.out.removesuffix("\n")
    assert user.monitors() == [monitor]
    assert f"{monitor}: in tmux, attach with 'tmux -L mahavishnu-{monitor} attach'\n" in ran.err
    assert f"{monitor}: its lines go to sqlite\n" in ran.err
    assert user.run("--debug", *SHELL, "echo hello").monitor == monitor
    assert user.run("workers", "close", "--all").status == 0
    assert user.tmux(monitor, "list-sessions") == ""


def test_a_batch_and_detached_tasks_have_a_monitor_too(user: User) -> None:
    (user.work / "tasks.json").write_text('[{"prompt": "echo one"}, {"prompt": "echo two"}]')
    ran = user.run("--debug", "workers", "batch", "tasks.json", "--type", "shell", "--json")
    assert (ran.status, [result["output"] for result in json.loads(ran.out)]) == (0, ["one", "two"])
    assert user.statuses() == {ran.monitor: "running"}
    detached = user.run("--debug", *SHELL, "echo three", "--detach")
    assert (detached.status, detached.monitor) == (0, ran.monitor)
    assert user.run("workers", "monitor", detached.out.partition(".")[0]).status == 0


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_standard_output_is_what_it_is_without(user: User, form: str) -> None:
    debugged = user.start_waiting(form)
    user.let_go()
    assert debugged.status == 0
    plain = user.run(*SHELL, WAITING, form)
    assert plain.told() == debugged.told()
    assert len(plain.told()) == (1 if form == "--json" else 4)


def test_a_traceback_is_shown_in_a_debug_run_alone(user: User) -> None:
    words = ("workers", "execute", "--worker", "nope", "-p", "x")
    plain, debugged = user.run(*words), user.run("--debug", *words)
    assert (plain.status, debugged.status) == (2, 2)
    assert plain.err.startswith("mahavishnu: there is no worker 'nope'")
    assert debugged.err.startswith("Traceback")
    assert debugged.err.endswith(plain.err)


# --- it takes no tasks, and nobody waits for it


def test_no_task_is_given_to_it(user: User) -> None:
    (monitor,) = json.loads(user.run("workers", "spawn", "-t", "debug-monitor", "--json").out)
    items = {
        "type": {"prompt": "x", "worker_type": "debug-monitor"},
        "id": {"prompt": "x", "worker_id": monitor},
    }
    for name, item in items.items():
        (user.work / f"{name}.json").write_text(json.dumps([item]))
    for words, reason in (
        (["execute", "-t", "debug-monitor", "-p", "x"], "'debug-monitor' takes no tasks: start it with"),
        (["execute", "--worker", monitor, "-p", "x"], f"{monitor!r} of type 'debug-monitor' takes no tasks"),
        (["execute", "--worker", monitor, "-p", "x", "--detach"], f"workers close {monitor}'"),
        (["batch", "type.json"], "worker_type: worker type 'debug-monitor' takes no tasks"),
        (["batch", "id.json"], f"{monitor!r} of type 'debug-monitor' takes no tasks"),
    ):
        ran = user.run("workers", *words)
        assert ran.status == 2, words
        (line,) = ran.err.splitlines()
        assert reason in line
    assert user.statuses() == {monitor: "running"}
    assert [task.task_id for task in user.app.state.tasks(monitor)] == [f"{monitor}.1"]


def test_it_is_waited_for_only_where_it_is_named(user: User) -> None:
    (monitor,) = json.loads(user.run("workers", "spawn", "-t", "debug-monitor", "--json").out)
    ran = user.run("workers", "monitor")
    assert (ran.status, ran.err) == (0, "nothing is running\n")
    watching = user.start("workers", "monitor", monitor)
    until(lambda: f"{monitor} running" in watching.err)
    assert watching.process.poll() is None
    assert user.run("workers", "close", monitor).status == 0
    assert watching.status == 1  # it did not complete: it was ended
    assert f"{monitor} cancelled" in watching.err


def test_it_takes_the_place_of_no_task(user: User) -> None:
    only_one = {"MAHAVISHNU_MAX_CONCURRENT_WORKERS": "1"}
    first = user.run("--debug", *SHELL, "echo one", "--json", **only_one)
    second = user.run("--debug", *SHELL, "echo two", "--json", **only_one)
    outputs = [json.loads(ran.out)[0]["output"] for ran in (first, second)]
    assert (first.status, second.status, outputs) == (0, 0, ["one", "two"])
    assert user.statuses()[first.monitor] == "running"


# --- it is in nobody's way


def test_ctrl_c_ends_the_tasks_and_leaves_the_monitor(user: User) -> None:
    ran = user.start_waiting("--json")
    ran.process.send_signal(signal.SIGINT)
    assert ran.status == 130
    (result,) = json.loads(ran.out)
    assert (result["status"], result["output"]) == ("cancelled", "begun")
    assert user.statuses() == {result["worker_id"]: "cancelled", ran.monitor: "running"}


def test_ctrl_c_while_it_is_opening_leaves_it_to_open_and_says_so(user: User) -> None:
    user.break_tmux(SLOW)
    ran = user.start("--debug", *SHELL, WAITING, "--json")
    until(lambda: "running" in ran.err)
    ran.process.send_signal(signal.SIGINT)
    assert (ran.status, json.loads(ran.out)[0]["status"]) == (130, "cancelled")
    (monitor,) = user.monitors()
    assert f"{monitor}: the debug monitor has not opened yet" in ran.err
    until(lambda: "* window: in " in user.run("workers", "logs", monitor).out)


def test_a_run_goes_on_when_its_window_is_closed(user: User) -> None:
    ran = user.start_waiting("--json")
    user.tmux(ran.monitor, "kill-session")
    until(lambda: user.statuses()[ran.monitor] == "cancelled")
    user.let_go()
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "begun\ndone")
    again = user.run("--debug", *SHELL, "echo hello")
    assert again.monitor != ran.monitor


def test_a_run_goes_on_when_the_watcher_is_killed(user: User) -> None:
    ran = user.start_waiting("--json")
    launch = user.app.state.task(f"{ran.monitor}.1").directory / "launch.json"
    os.kill(json.loads(launch.read_text())["pid"], signal.SIGKILL)
    user.let_go()
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "begun\ndone")
    until(lambda: user.statuses()[ran.monitor] == "failed")
    assert user.tmux(ran.monitor, "list-sessions") == ""


def test_without_the_plugin_one_line_says_how_to_follow_the_log(user: User) -> None:
    # a distribution that is found first, and offers nothing
    (user.work / "site/mahavishnu_debug_monitor-0.1.0.dist-info").mkdir(parents=True)
    (user.app.state.root / "../home/.config/mahavishnu/ecosystem.yaml").resolve().unlink()
    ran = user.run("--debug", *SHELL, "echo hello", "--json", PYTHONPATH=str(user.work / "site"))
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "hello")
    assert_follows(ran, user, "unknown worker type 'debug-monitor'")


@pytest.mark.parametrize(
    ("does", "reason"), [(BROKEN, "no room for a server"), (None, "tmux is not installed")]
)
def test_where_it_cannot_open_one_line_says_how_to_follow_the_log(
    user: User, does: str | None, reason: str
) -> None:
    if does is None:
        user.path = str(user.work)
    else:
        user.break_tmux(does, "tmux")
    ran = user.run("--debug", *SHELL, "echo hello", "--json")
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "hello")
    assert_follows(ran, user, reason)
    assert user.monitors() == []


def assert_follows(ran: Ran, user: User, reason: str) -> None:
    """One line says that there is no monitor, and how to follow the log, which is there."""
    (line,) = [line for line in ran.err.splitlines() if "debug monitor" in line]
    assert reason in line
    assert shlex.split(line.rpartition("follow the log with ")[2]) == [f"tail -F {user.log}"]
    assert '"event": "engine_closed"' in user.log.read_text()


def test_a_tmux_that_dies_at_once_is_told_and_done_without(user: User) -> None:
    user.break_tmux(BROKEN)
    ran = user.run("--debug", *SHELL, "echo hello", "--json")
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "hello")
    assert re.search(rf"{ran.monitor}: in no window, follow it with 'tail .* \(tmux: no room", ran.err)
    until(lambda: "engine_closed" in user.run("workers", "logs", ran.monitor).out)


def test_a_run_ends_while_a_tmux_hangs(user: User) -> None:
    user.break_tmux(HANGING)
    ran = user.start("--debug", *SHELL, "echo hello", "--json")
    assert (ran.status, json.loads(ran.out)[0]["output"]) == (0, "hello")
    (monitor,) = user.monitors()
    assert f"{monitor}: the debug monitor has not opened yet" in ran.err
    assert "* window:" not in user.run("workers", "logs", monitor).out
    until(lambda: "(tmux: tmux does not answer)" in user.run("workers", "logs", monitor).out)


def test_a_storage_that_fails_changes_no_more_than_without(user: User) -> None:
    user.run(*SHELL, "echo hello")
    with (user.app.state.root / "results.sqlite3").open("r+b") as database:
        database.seek(18)
        database.write(b"\3")  # a version that SQLite only reads, whatever the user may do
    plain = user.run(*SHELL, "echo hello", "--json")
    debugged = user.run("--debug", *SHELL, "echo hello", "--json")
    assert (plain.status, debugged.status) == (4, 4)
    assert plain.told() == debugged.told()
    assert f"{debugged.monitor}: its lines go to no storage; sqlite cannot: " in debugged.err
    until(lambda: "engine_closed" in user.run("workers", "logs", debugged.monitor).out)
