"""Standing workers and people: the debug monitor of a run, what is said of it, and that it takes no tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Mapping
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_cli.standing import MONITOR, debugged, tell_notices
from mahavishnu_core import WorkerManager, WorkerStatus, WorkerType
from mahavishnu_core.app import App
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.hookspecs import Parser
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import JSON, Task, Worker, utc_now
from mahavishnu_core.state import StateDir
from tests.fakes import ANSWER, UP, Hang, Leave, Say, StandingPlace, app_of
from tests.installed import opened

MONITOR_TYPE = WorkerType(MONITOR, "fake", "fake", standing=True)
ACCESS = Say(b"look here\n")
SECONDS = 10.0
"""How long a slow monitor takes to open."""


@pytest.fixture
async def place(nursery: trio.Nursery) -> StandingPlace:
    """A monitor says where to look, and stands; whatever else there is answers."""
    place = StandingPlace(nursery, types=(WorkerType("fake", "fake", "fake"), MONITOR_TYPE))
    place.script = lambda task: ANSWER if task.timeout_seconds else (ACCESS, UP, Hang())
    return place


def app_with(directory: Path, place: object, *, debug: bool = True) -> App:
    return attrs.evolve(app_of(directory, fake=place), debug=debug)


def monitors(manager: WorkerManager) -> dict[str, WorkerStatus]:
    """Those that are open."""
    return {each.worker_id: each.status for each in manager.monitor_workers() if each.worker_type == MONITOR}


async def run_once(manager: WorkerManager) -> None:
    """What a run is at the least."""
    (worker_id,) = await manager.spawn_workers("fake")
    assert (await manager.execute_task(worker_id, "Go")).is_success()


# --- the monitor of a run


async def test_it_is_opened_and_says_where_to_look_and_how_to_end_it(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        async with debugged(manager):
            await run_once(manager)
        ((worker_id, status),) = monitors(manager).items()
    assert status is WorkerStatus.RUNNING
    log = tmp_path / "state/debug.jsonl"
    assert log.is_file()
    assert capsys.readouterr().err.splitlines() == [
        f"{worker_id}: look here",
        f"{worker_id}: shows {log}; see it later with 'mahavishnu workers logs {worker_id}'",
        f"{worker_id}: stays open; end it with 'mahavishnu workers close {worker_id}'",
    ]


async def test_the_next_run_has_the_same_and_says_the_same(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        async with WorkerManager(app_with(tmp_path, place)) as manager:
            async with debugged(manager):
                await run_once(manager)
            assert len(monitors(manager)) == 1
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] != ""


async def test_one_that_has_ended_unseen_is_none(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.script = lambda _: (ACCESS, UP, Leave(after=60))
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        (lost,) = await manager.spawn_workers(MONITOR)
    await trio.sleep(120)
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        async with debugged(manager):
            pass
        found = monitors(manager)
    assert found.pop(lost).is_final
    assert [*found.values()] == [WorkerStatus.RUNNING]


async def test_of_an_open_one_only_what_it_said_at_its_start_is_told_again(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.script = lambda task: ANSWER if task.timeout_seconds else (ACCESS, UP, Say(b"and then\n"), Hang())
    for _ in range(2):
        async with WorkerManager(app_with(tmp_path, place)) as manager, debugged(manager):
            await trio.sleep(SECONDS)
    said = capsys.readouterr().err
    assert (said.count("look here"), said.count("and then")) == (2, 0)


async def test_an_open_one_whose_output_is_gone_harms_no_run(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        (worker_id,) = await manager.spawn_workers(MONITOR)
        output = manager.app.state.task(f"{worker_id}.1").directory / "stdout.jsonl"
        output.rename(output.with_name("away"))
        output.mkdir()
        async with debugged(manager):
            await run_once(manager)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{worker_id}: the debug monitor has not opened yet; ")


async def test_a_log_that_cannot_be_written_is_told_of(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state/debug.jsonl").mkdir(parents=True)
    async with WorkerManager(app_with(tmp_path, place)) as manager, debugged(manager):
        await run_once(manager)
    assert "debug.jsonl' lacks lines: it cannot be written" in capsys.readouterr().err


async def test_the_run_does_not_wait_while_it_is_opening(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    script = (Say(ACCESS.data, after=SECONDS), UP, Hang())
    place.script = lambda task: ANSWER if task.timeout_seconds else script
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        began = trio.current_time()
        async with debugged(manager):
            await run_once(manager)
            assert trio.current_time() - began < SECONDS / 10
        assert [*monitors(manager).values()] == [WorkerStatus.RUNNING]


async def test_a_run_that_ends_first_leaves_it_to_open_and_says_so(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.script = lambda _: (Say(ACCESS.data, after=SECONDS), UP, Hang())
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        began = trio.current_time()
        async with debugged(manager):
            await trio.sleep(1)
        assert trio.current_time() - began < SECONDS / 2
        ((worker_id, status),) = monitors(manager).items()
        await trio.sleep(SECONDS)
        tell_notices(manager, worker_id)
    assert status is WorkerStatus.RUNNING
    assert not place.runs[0].asked
    unfinished, later = capsys.readouterr().err.splitlines()
    assert unfinished.startswith(f"{worker_id}: the debug monitor has not opened yet; see what it does with ")
    assert f"'mahavishnu workers close {worker_id}'" in unfinished
    assert later == f"{worker_id}: look here"


async def test_a_run_that_fails_says_so_too_and_why_itself(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.script = lambda _: (Hang(),)
    async with WorkerManager(app_with(tmp_path, place)) as manager:

        async def fail() -> None:
            async with debugged(manager):
                await trio.sleep(SECONDS)
                raise MahavishnuError("it is not to be had")

        with pytest.raises(ExceptionGroup) as caught:
            await fail()
        assert [str(error) for error in caught.value.exceptions] == ["it is not to be had"]
        assert len(monitors(manager)) == 1
    assert "the debug monitor has not opened yet" in capsys.readouterr().err


# --- where there is none


def assert_done_without(said: str, reason: str, directory: Path) -> None:
    (line,) = said.splitlines()
    assert re.fullmatch(rf"no debug monitor \(.*{re.escape(reason)}.*\); follow the log with '.*'", line)
    assert line.endswith(f"'tail -F {directory / 'state/debug.jsonl'}'")


async def test_without_its_plugin_one_line_says_what_to_do_instead(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.types = (WorkerType("fake", "fake", "fake"),)
    async with WorkerManager(app_with(tmp_path, place)) as manager, debugged(manager):
        await run_once(manager)
    assert_done_without(capsys.readouterr().err, "unknown worker type 'debug-monitor'", tmp_path)


async def test_where_it_does_not_start_one_line_says_why(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.script = lambda task: ANSWER if task.timeout_seconds else (Leave(3),)
    async with WorkerManager(app_with(tmp_path, place)) as manager:
        async with debugged(manager):
            await run_once(manager)
        assert monitors(manager) == {}
    assert_done_without(capsys.readouterr().err, "did not start: exit status 3", tmp_path)


class BrokenParser:
    """Fails at the first line."""

    def feed(self, lines: object) -> list[object]:
        raise ValueError("I cannot read")

    def end(self, exit: object, stderr: str) -> list[object]:
        return []


@attrs.define(eq=False)
class BrokenPlace(StandingPlace):
    """The same, of which one thing is broken where it is about a monitor."""

    broken: str = ""

    @hookimpl
    def spawn(self, worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
        self._break("spawn", worker)
        return StandingPlace.spawn(self, worker)

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> object:
        self._break("execute", worker)
        return StandingPlace.execute(self, worker, task)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> Parser:
        self._break("parse_progress", worker)
        if self.broken == "feed" and worker.type.name == MONITOR:
            return BrokenParser()
        return StandingPlace.parse_progress(self, worker, task)

    def _break(self, hook: str, worker: Worker) -> None:
        if self.broken == hook and worker.type.name == MONITOR:
            raise ValueError(f"{hook} is not for you")


@pytest.mark.parametrize("broken", ["spawn", "execute", "parse_progress", "feed"])
async def test_a_broken_plugin_harms_no_run(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    place: StandingPlace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    own = BrokenPlace(nursery, types=place.types, script=place.script, broken=broken)
    async with WorkerManager(app_with(tmp_path, own)) as manager, debugged(manager):
        await run_once(manager)
        await trio.sleep(4 * SECONDS)
    assert_done_without(capsys.readouterr().err, "", tmp_path)


# --- what one says of itself


async def test_only_what_a_standing_worker_has_to_tell_is_said(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.script = lambda task: (Say(b"noise\n"), *(ANSWER if task.timeout_seconds else (UP, Hang())))
    async with WorkerManager(app_with(tmp_path, place, debug=False)) as manager:
        (standing,) = await manager.spawn_workers(MONITOR)
        idle, passing = await manager.spawn_workers("fake", 2)
        await manager.execute_task(passing, "Go")
        for worker_id in (idle, passing, standing):
            tell_notices(manager, worker_id)
        await manager.close_worker(standing)
    assert capsys.readouterr().err == f"{standing}: noise\n"


# --- the command line

STANDING = """
from mahavishnu_core import Command, WorkerType, hookimpl
from mahavishnu_core.events import Finished, Notice, Started

HOOK_API = 1


@hookimpl
def worker_types():
    yield WorkerType("debug-monitor", "stander", description="it stands", standing=True)


@hookimpl
def execute(worker, task):
    if worker.type.agent == "stander":
        return Command(("/bin/sh", "-c", "echo 'at your door'; exec sleep 1000"))


@hookimpl
def parse_progress(worker, task):
    return Reader() if worker.type.agent == "stander" else None


class Reader:
    def feed(self, lines):
        for line in lines:
            yield Notice("window", f"it stands {line}")
            yield Started(session_id=None)

    def end(self, exit, stderr):
        yield Finished(success=False, error="cancelled", reason="cancelled")
"""


@pytest.fixture
def stander(home, tmp_path, monkeypatch, nothing_left):
    """A plugin in the place of the one that brings debug monitors, without any window."""
    with opened(tmp_path / "stander_site") as site:
        site.install("debug-monitor", STANDING, distribution="mahavishnu-debug-monitor")
        monkeypatch.setenv("PYTHONPATH", str(site.path))
        yield
        home.run("workers", "close", "--all")


@pytest.fixture
def standing_id(home):
    """The id of a standing worker, of which there are the files alone."""
    state = StateDir(home.state)
    state.prepare()
    worker = Worker(state.new_worker_id(), MONITOR_TYPE, home.work, utc_now())
    state.add_worker(worker)
    return worker.worker_id


def test_spawn_says_what_a_standing_worker_tells(home, stander):
    ran = home.run("workers", "spawn", "-t", "debug-monitor")
    worker_id = ran.out.strip()
    assert ran.err.splitlines() == [
        "spawned 1 worker of type debug-monitor",
        f"{worker_id}: it stands at your door",
    ]
    again = home.run("workers", "spawn", "-t", "debug-monitor", "-n", "2", "--json")
    assert again.err == "".join(f"{each}: it stands at your door\n" for each in again.json)


def test_a_debugged_run_opens_one_and_a_debugged_look_none(home, stander):
    assert home.run("--debug", "workers", "list", "--json").json == []
    assert "stays open" not in home.run("--debug", "workers", "spawn", "-t", "shell").err
    ran = home.run("--debug", "workers", "execute", "-t", "shell", "-n", "1", "-p", "echo hello", "--json")
    assert (ran.status, ran.json[0]["output"]) == (0, "hello")
    (worker_id,) = re.findall(r"^(\w+): it stands at your door$", ran.err, re.MULTILINE)
    batch = home.write("tasks.json", '[{"prompt": "echo one", "worker_type": "shell"}]')
    ran = home.run("--debug", "workers", "batch", str(batch), "--json")
    assert (ran.status, ran.json[0]["output"]) == (0, "one")
    assert f"{worker_id}: stays open" in ran.err
    (listed,) = [
        each for each in home.run("workers", "list", "--json").json if each["worker_type"] == "debug-monitor"
    ]
    assert (listed["worker_id"], listed["status"]) == (worker_id, "running")


def test_no_tasks_are_given_to_a_standing_type(home, stander):
    batch = home.write("tasks.json", '[{"prompt": "x", "worker_type": "debug-monitor"}]')
    plain = home.write("plain.json", '[{"prompt": "x"}]')
    for words in (
        ("execute", "-t", "debug-monitor", "-p", "x"),
        ("execute", "-t", "debug-monitor", "-p", "x", "--detach"),
        ("batch", str(batch)),
        ("batch", str(plain), "--type", "debug-monitor"),
    ):
        ran = home.run("workers", *words)
        assert (ran.status, ran.out) == (2, ""), words
        (line,) = ran.err.splitlines()
        assert line.endswith(
            "worker type 'debug-monitor' takes no tasks: "
            "start it with 'mahavishnu workers spawn -t debug-monitor'"
        )
        assert line.startswith("mahavishnu: ")
    assert not list(home.path.glob("state/workers/*"))


def test_no_tasks_are_given_to_a_standing_worker(home, standing_id):
    batch = home.write("tasks.json", json.dumps([{"prompt": "x", "worker_id": standing_id}]))
    for words in (
        ("execute", "--worker", standing_id, "-p", "x", "--json"),
        ("execute", "--worker", standing_id, "-p", "x", "--detach"),
        ("batch", str(batch), "--json"),
    ):
        ran = home.run("workers", *words)
        assert ran.status == 2, words
        (line,) = ran.err.splitlines()
        assert line.endswith(
            f"worker {standing_id!r} of type 'debug-monitor' takes no tasks: see what it does with "
            f"'mahavishnu workers logs {standing_id}', end it with 'mahavishnu workers close {standing_id}'"
        )
    assert StateDir(home.state).tasks(standing_id) == []


def test_where_a_standing_worker_is_named_nobody_is_given_a_task(home, standing_id):
    (idle,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    ran = home.run("workers", "execute", "--worker", idle, "--worker", standing_id, "-p", "echo hi", "--json")
    assert (ran.status, ran.out) == (2, "")
    assert StateDir(home.state).tasks(idle) == []
