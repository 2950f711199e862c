"""Section E of the fault matrix: signals, cancelled tasks, and what a user does to the program itself."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import subprocess
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager, WorkerResult, WorkerStatus
from mahavishnu_core.keeper.family import marked, snapshot
from mahavishnu_core.testing.processes import keepers
from tests.fakes import FakeStorage, Leave, Say, SharedPlace, app_of

from .site import PATIENCE, Site
from .sweep import strace
from .waiting import until

CANCELLING = "cancelling (again to kill at once)"
UP = "echo up > up-$MAHAVISHNU_TASK"
"""What a prompt says first: now it runs."""


def until_up(site: Site, count: int) -> None:
    """Wait until so many prompts that say ``UP`` run."""
    until(lambda: len(list(site.work.glob("up-*"))) == count)


# --- E1


@attrs.define
class Terminal:
    """A terminal of a user's, in whose foreground one program runs."""

    site: Site
    master: int
    seen: str = ""

    @classmethod
    def start(cls, site: Site, *words: str, **ends: object) -> tuple[Terminal, subprocess.Popen[str]]:
        master, slave = pty.openpty()
        ends = {**dict.fromkeys(("stdin", "stdout", "stderr"), slave), **ends}
        process = site.start(*words, start_new_session=True, preexec_fn=_take_terminal, **ends)
        os.close(slave)
        return cls(site, master), process

    def press(self, key: bytes) -> None:
        """The kernel makes of it what it makes of a key: of Ctrl-C a signal for the foreground."""
        os.write(self.master, key)

    def until(self, words: str) -> None:
        """Read until the program has shown these words."""
        until(lambda: self._read() and words in self.seen)

    def all(self) -> str:
        """Read on until the program has closed its end."""
        until(lambda: not self._read())
        return self.seen

    def close(self) -> None:
        os.close(self.master)

    def _read(self) -> bool:
        """Take in what is there by now; False when nobody is left to write."""
        if select.select([self.master], [], [], 0.02)[0]:
            try:
                self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
            except OSError:  # how Linux says that the other end is closed
                return False
        return True


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


SEEING = f"trap 'echo INT >> seen' INT; {UP}; while :; do sleep 0.1; done"
"""A prompt for an agent that writes down when Ctrl-C reaches it."""


@pytest.fixture
def on_terminal(site: Site) -> Iterator[Callable[[str], tuple[Terminal, subprocess.Popen[str]]]]:
    """Has three workers do a prompt in the foreground of a terminal; returns when all of them run."""
    terminals: list[Terminal] = []

    def execute(prompt: str) -> tuple[Terminal, subprocess.Popen[str]]:
        words = ("workers", "execute", "-t", "shell", "-n", "3", "-p", prompt)
        terminal, process = Terminal.start(site, *words)
        terminals.append(terminal)
        until_up(site, 3)
        terminal.until("running")
        return terminal, process

    yield execute
    for terminal in terminals:
        terminal.close()


def test_e1_ctrl_c_in_a_terminal_ends_all_agents_which_do_not_see_it(site: Site, on_terminal) -> None:
    terminal, process = on_terminal(SEEING)
    terminal.press(b"\x03")
    terminal.until(CANCELLING)
    seen = terminal.all()
    assert process.wait(PATIENCE) == 130
    assert "0 successful, 3 failed" in seen
    assert "Traceback" not in seen
    results = site.run("workers", "results", "--json").results
    assert [result.status for result in results] == [WorkerStatus.CANCELLED] * 3
    assert {result.metadata["evidence"]["signal"] for result in results} == {"SIGTERM"}
    assert not (site.work / "seen").exists()


def test_e1_a_second_ctrl_c_kills_at_once_those_that_ignore_the_first(site: Site, on_terminal) -> None:
    terminal, process = on_terminal(f"trap '' TERM; {SEEING}")
    terminal.press(b"\x03")
    terminal.until(CANCELLING)
    pressed = time.monotonic()
    terminal.press(b"\x03")
    seen = terminal.all()
    assert process.wait(PATIENCE) == 130
    assert time.monotonic() - pressed < 4, "not at once: the grace of the first is 5 s"
    assert "0 successful, 3 failed" in seen
    assert "Traceback" not in seen
    results = site.run("workers", "results", "--json").results
    assert {result.metadata["evidence"]["signal"] for result in results} == {"SIGKILL"}
    assert not (site.work / "seen").exists()


# --- E2; signals by anybody, and the end of a client's input: with their plugins


def test_e2_a_terminal_that_is_gone_cancels_without_a_traceback(site: Site) -> None:
    with (site.root / "err").open("w") as err:
        words = ("workers", "execute", "-t", "shell", "-n", "3", "-p", SEEING)
        terminal, process = Terminal.start(site, *words, stderr=err)
        until_up(site, 3)
        terminal.close()  # the kernel sends SIGHUP, and nothing can be written there any more
        assert process.wait(PATIENCE) == 129
    said = (site.root / "err").read_text()
    assert CANCELLING in said
    assert "Traceback" not in said
    results = site.run("workers", "results", "--json").results
    assert [result.status for result in results] == [WorkerStatus.CANCELLED] * 3


@pytest.mark.parametrize("how", [(), ("--json",), ("--jsonl",)], ids=["events", "json", "jsonl"])
def test_e2_a_terminal_that_is_gone_with_all_three_streams_cancels_without_a_traceback(
    site: Site, how: tuple[str, ...]
) -> None:
    trace = site.root / "trace"
    # with -D it is the program that leads its session, and that the kernel tells
    writes = (*strace(), "-DDD", "-f", "-o", str(trace), "-s", "4096", "-e", "trace=write,writev")
    words = ("workers", "execute", "-t", "shell", "-n", "3", "-p", SEEING, *how)
    terminal, process = Terminal.start(site, *words, prefix=writes)
    until_up(site, 3)
    terminal.close()
    assert process.wait(PATIENCE) == 129
    until(lambda: f"{process.pid} +++ exited" in " ".join(trace.read_text().split()))
    tried = trace.read_text()
    assert CANCELLING in tried, "it is seen what it tries to say"
    assert "EIO" in tried, "nobody could read it"
    assert "Traceback" not in tried
    results = site.run("workers", "results", "--json").results
    assert [result.status for result in results] == [WorkerStatus.CANCELLED] * 3


def test_e2_an_agent_that_sends_term_to_the_program_has_it_cancel_as_anybody_does(site: Site) -> None:
    kill = f"{UP}; until [ -s pid ]; do sleep 0.05; done; kill -TERM $(cat pid); sleep 60"
    process = site.start("workers", "execute", "-t", "shell", "-n", "2", "-p", kill, "--json")
    (site.work / "pid").write_text(f"{process.pid}\n")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert [result["status"] for result in json.loads(out)] == ["cancelled"] * 2


def test_e2_an_agent_that_ends_its_parent_ends_with_all_others_and_each_has_its_result(site: Site) -> None:
    """Its parent is the keeper, which then gives up everything, as when the machine goes down."""
    peaceful = site.start("workers", "execute", "-t", "shell", "-n", "1", "-p", f"{UP}; sleep 60", "--json")
    until_up(site, 1)
    ran = site.execute("shell", prompt="kill -TERM $PPID; sleep 60")
    out, err = peaceful.communicate(timeout=PATIENCE)
    assert (ran.status, peaceful.returncode) == (1, 1)
    assert "Traceback" not in ran.err + err
    assert [ran.result.status.value, *(each["status"] for each in json.loads(out))] == ["cancelled"] * 2


# --- E3


def family(task_id: str) -> set[int]:
    """Who of a task is alive."""
    return set(marked(snapshot(), task_id))


def test_e3_of_fifty_workers_the_one_that_is_closed_ends_alone(site: Site) -> None:
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "60"
    ids = json.loads(site.run("workers", "spawn", "-t", "shell", "-n", "50", "--json").out)
    prompt = f"sleep 50 & setsid sleep 50 & {UP}; wait"
    named = [word for worker_id in ids for word in ("--worker", worker_id)]
    site.run("workers", "execute", *named, "-p", prompt, "--detach")
    until_up(site, 50)
    families = {worker_id: family(f"{worker_id}.1") for worker_id in ids}
    assert {len(found) for found in families.values()} == {3}
    one, *others = ids
    closed = site.run("workers", "close", one, "--json")
    assert closed.status == 0
    assert {worker_id: family(f"{worker_id}.1") for worker_id in ids} == {**families, one: set()}
    listed = json.loads(site.run("workers", "list", "--all", "--json").out)
    status = {each["worker_id"]: each["status"] for each in listed}
    assert status == {one: "cancelled", **dict.fromkeys(others, "running")}
    assert site.run("workers", "close", "--all").status == 0


def test_e3_a_worker_that_is_closed_twice_or_unknown_is_told_and_one_that_has_ended_keeps_its_result(
    site: Site,
) -> None:
    done = site.execute("shell", prompt="echo done").result
    first, second = (site.run("workers", "close", done.worker_id) for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    assert second.out == f"closed before: {done.worker_id}\n"
    unknown = site.run("workers", "close", "nobody00")
    assert (unknown.status, unknown.out) == (2, "")
    assert unknown.err.splitlines() == [
        "mahavishnu: there is no worker 'nobody00': list them with 'mahavishnu workers list --all'"
    ]
    assert site.run("workers", "results", done.worker_id, "--json").result == done


# --- E4

TIMES = 500
WAYS = 6
"""To ask for the end: see ``_cancelled``."""
WAYS_FOR_ONE = range(WAYS - 1)
"""The last one is for all tasks."""
LEAVING = 0
"""The way of a caller who does not wait to be told."""
OFFSETS = 0.3
"""Seconds before and after the moment of the result in which the end is asked for."""


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("MAHAVISHNU_SEED") or random.SystemRandom().randrange(2**32))
    print(f"again with MAHAVISHNU_SEED={seed}")
    return random.Random(seed)


async def test_e4_a_task_that_is_cancelled_at_the_moment_of_its_result_has_one_end_state(
    autojump_clock: MockClock, tmp_path: Path, nursery: trio.Nursery, dice: random.Random
) -> None:
    answer = Say({"type": "result", "result": "the answer"}, after=1)
    place = SharedPlace(nursery, script=lambda _: (answer, Leave(after=dice.choice([0, 0, 0.01]))))
    storage = FakeStorage()
    app = app_of(tmp_path, fake=place, storage=storage)
    found = set()
    async with WorkerManager(app) as manager, WorkerManager(app) as other:
        for worker_id in await manager.spawn_workers("fake", TIMES):
            moment = 1 + dice.choice([0, 0.01, dice.uniform(-OFFSETS, OFFSETS)])
            returned = await _cancelled(manager, other, worker_id, moment, dice.randrange(WAYS))
            task = app.state.task(f"{worker_id}.1")
            result = app.state.result(task)
            assert result is not None
            ended = place.runs[-1].exit
            assert ended is not None
            was_cancelled = ended.cause == "cancelled"
            assert result.status is (WorkerStatus.CANCELLED if was_cancelled else WorkerStatus.COMPLETED)
            assert returned in ([result], []), "who gave the task was told something else"
            await other.cancel_task(task.task_id)
            await other.recover()
            await manager.close_worker(worker_id)
            assert app.state.result(task) == result, "it did not stay"
            kept = [result for task_id, result in storage.kept if task_id == task.task_id]
            assert kept, "no storage has it"
            assert all(each == result for each in kept), "two engines may give it twice, but not two of them"
            found.add(result.status)
        assert list(app.state.open_tasks()) == []
    assert found == {WorkerStatus.COMPLETED, WorkerStatus.CANCELLED}, (
        "the moments are not those of the result"
    )


async def _cancelled(
    manager: WorkerManager,
    other: WorkerManager,
    worker_id: str,
    moment: float,
    way: int,
    prompt: str = "go",
) -> list[WorkerResult]:
    """Have a task done and its end asked for at a moment; what its giver was told, if anything."""
    returned: list[WorkerResult] = []
    caller = trio.CancelScope()

    async def execute() -> None:
        with caller:
            returned.append(await manager.execute_task(worker_id, prompt))

    async def leave() -> None:
        await trio.lowlevel.checkpoint()
        caller.cancel()

    ways: list[Callable[[], Awaitable[object]]] = [
        leave,
        lambda: manager.cancel_task(f"{worker_id}.1"),
        lambda: manager.close_worker(worker_id),
        lambda: other.cancel_task(f"{worker_id}.1"),
        lambda: other.close_worker(worker_id),
        manager.cancel_tasks,
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.sleep(moment)
        await ways[way]()
    assert returned or way == LEAVING, "nobody told who gave the task"
    return returned


async def test_e4_real_tasks_that_are_cancelled_as_they_end_have_one_end_state(
    site: Site, dice: random.Random
) -> None:
    prompt = "sleep 0.1; echo nightingale"
    async with WorkerManager(site.app, max_concurrent=5) as manager, WorkerManager(site.app) as other:
        ids = await manager.spawn_workers("shell", 60, repo=site.work)

        returned: list[WorkerResult] = []

        async def work_off(mine: list[str]) -> None:
            for worker_id in mine:
                moment, way = dice.uniform(0.09, 0.13), dice.choice(WAYS_FOR_ONE)
                returned.extend(await _cancelled(manager, other, worker_id, moment, way, prompt))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for start in range(5):
                    nursery.start_soon(work_off, ids[start::5])
    kept = site.run("workers", "results", "--json").results
    assert sorted(result.worker_id for result in kept) == sorted(ids)
    assert [result for result in returned if result not in kept] == [], "it was told something else"
    for result in kept:
        has_ended_by_itself = result.metadata["evidence"]["ended_by_us"] is None
        assert result.status is (WorkerStatus.COMPLETED if has_ended_by_itself else WorkerStatus.CANCELLED)
    stored = json.loads(site.run("results", "search", "nightingale", "--limit", "1000", "--json").out)
    assert sorted(each["worker_id"] for each in stored) == sorted(ids)
    assert {result.status for result in kept} == {WorkerStatus.COMPLETED, WorkerStatus.CANCELLED}


# --- E5; a reader that leaves: with the command line


def test_e5_stopped_for_a_while_and_continued_the_program_goes_on_without_a_false_timeout(site: Site) -> None:
    ticking = f"{UP}; for second in 1 2 3 4 5 6; do sleep 1; echo $second; done"
    site.settings(
        {"ticking": ["sh", "-c", ticking]}, agent="generic", progress_tracking="lines", idle_seconds=2.5
    )
    process = site.start("workers", "execute", "-t", "ticking", "-n", "1", "-p", "go", "--json")
    until_up(site, 1)
    process.send_signal(signal.SIGSTOP)
    until(lambda: any(b"4" in path.read_bytes() for path in site.state.rglob("stdout.jsonl")))
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in err) == (0, False)
    (result,) = json.loads(out)
    assert (result["status"], result["output"]) == ("completed", "1\n2\n3\n4\n5\n6")


@pytest.mark.parametrize(
    ("limit", "came_of_it"),
    [(4, ("timeout", "wall")), (30, ("completed", None))],
    ids=["over it", "within it"],
)
def test_e5_a_pause_of_engine_keeper_and_agent_counts_towards_the_wall_limit_and_is_no_silence(
    site: Site, limit: int, came_of_it: tuple[str, str | None]
) -> None:
    """As when a container or a terminal's whole job is frozen."""
    os.mkfifo(site.work / "gate")
    waiting = {"waiting": ["sh", "-c", f"{UP}; read word < gate; echo $word"]}
    site.settings(waiting, agent="generic", progress_tracking="lines", timeout_seconds=limit, idle_seconds=3)
    process = site.start("workers", "execute", "-t", "waiting", "-n", "1", "-p", "go", "--json")
    until_up(site, 1)
    [up] = site.work.glob("up-*")
    [keeper] = keepers(site.state)
    frozen = [process.pid, keeper.pid, *family(up.name.removeprefix("up-"))]
    began = time.monotonic()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: time.monotonic() > began + 5)
    for pid in reversed(frozen):  # else one that goes on ends one that is still to
        os.kill(pid, signal.SIGCONT)
    paused = time.monotonic() - began
    if limit > paused:
        until(lambda: time.monotonic() > began + paused + 1.5)  # the engine has looked long since
        (site.work / "gate").write_text("go\n")
    out, err = process.communicate(timeout=PATIENCE)
    (result,) = json.loads(out)
    assert (result["status"], result["metadata"]["reason"]) == came_of_it
    assert paused < result["duration_seconds"] < paused + 4
    assert "Traceback" not in err
