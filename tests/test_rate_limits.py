"""After a rate limit: further tasks of that worker type wait for its end or are given up, others go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import Task, Worker, WorkerManager, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.events import Event, Finished, Notice
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import JSON, Exit
from mahavishnu_core.rate_limits import FIRST_PAUSE, RateLimited, RateLimits
from tests.fakes import ANSWER, FakePlace, Leave, Say, Script, app_of

BUSY, CALM = WorkerType("busy", "fake", "fake"), WorkerType("calm", "fake", "fake")
LONGEST = 600
"""Seconds: the shipped ``rate_limit_wait_seconds``."""


def limited(retry_at: float | None = None, after: float = 1.0) -> Script:
    return (Say({"type": "limit", "retry_at": retry_at}, after), Leave(1))


class Parser:
    """Reads what ``limited`` and ``ANSWER`` say."""

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> list[Event]:
        return [event for line in lines if isinstance(line, dict) for event in self._read(line)]

    def _read(self, line: dict[str, JSON]) -> list[Event]:
        if line["type"] != "limit":
            return [Finished(success=True, text="the answer")]
        moment = line["retry_at"]
        retry_at = moment if isinstance(moment, float) else None
        failed = Finished(success=False, error="slow down", reason="rate_limited")
        return [Notice("rate_limit", "slow down", retry_at), failed]

    def end(self, exit: Exit, stderr: str) -> list[Event]:
        return []


@attrs.define(eq=False)
class Vendor(FakePlace):
    """Plays ``scripts`` one after the other, and then answers."""

    scripts: list[Script] = attrs.field(factory=list)
    types: tuple[WorkerType, ...] = (BUSY, CALM)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> Parser:  # type: ignore[override]
        return Parser()

    def begun(self) -> list[float]:
        """When each command began, in seconds after the first."""
        return [round(run.began - self.runs[0].began, 3) for run in self.runs]


@pytest.fixture
async def vendor(nursery: trio.Nursery) -> Vendor:
    made = Vendor(nursery)
    made.script = lambda _: made.scripts.pop(0) if made.scripts else ANSWER
    return made


async def run_tasks(manager: WorkerManager, vendor: Vendor, *kinds: str) -> list[WorkerResult]:
    """One task for a worker of each type; the results as the tasks began, last those that never did."""
    workers = [worker for kind in kinds for worker in await manager.spawn_workers(kind)]
    results = await manager.execute_batch(workers, ["go"] * len(workers))
    begun = [run.task.worker_id for run in vendor.runs]
    return sorted(results, key=lambda result: (*begun, result.worker_id).index(result.worker_id))


async def give_first(manager: WorkerManager, kind: str) -> WorkerResult:
    (worker_id,) = await manager.spawn_workers(kind)
    return await manager.execute_task(worker_id, "go")


def ends(results: Sequence[WorkerResult]) -> list[str]:
    return [str(result.metadata["reason"] or result.status.value) for result in results]


async def test_tasks_of_that_type_wait_until_it_is_over_and_others_do_not(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited(time.time() + 500)]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=1) as manager:
        heard: list[str] = []
        with manager.listening(heard.append):
            await give_first(manager, "busy")
            results = await run_tasks(manager, vendor, "busy", "calm")
    kinds = [manager.app.state.worker(run.task.worker_id).type.name for run in vendor.runs]
    assert (ends(results), kinds) == (["completed", "completed"], ["busy", "calm", "busy"])
    assert 400 <= vendor.begun()[2] <= 502
    assert [line.partition(" 20")[0] for line in heard] == ["busy is rate limited: its tasks begin at"]


async def test_where_it_ends_too_late_they_are_given_up_and_say_when_to_come_back(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    until = float(int(time.time()) + 10 * LONGEST)
    vendor.scripts = [limited(until)]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=1) as manager:
        first = await give_first(manager, "busy")
        other, second = await run_tasks(manager, vendor, "calm", "busy")
    assert len(vendor.runs) == 2
    assert (second.status, second.exit_code) == (WorkerStatus.FAILED, None)
    assert (second.metadata["reason"], second.metadata["retry_at"]) == ("rate_limited", until)
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(until))
    assert str(second.error).startswith(
        f"not begun: an earlier task of 'busy' was rate limited, until {told}"
    )
    assert (first.metadata["retry_at"], ends([other])) == (until, ["completed"])


async def test_one_that_nobody_knows_the_end_of_is_waited_for_longer_and_longer_and_then_given_up(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited() for _ in range(10)]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=1) as manager:
        results = await run_tasks(manager, vendor, *["busy"] * 10)
    assert ends(results) == ["rate_limited"] * 10
    pauses = [FIRST_PAUSE * 2**nth for nth in range(4)]  # 60, 120, 240, 480: the next would be too long
    assert vendor.begun() == [nth + sum(pauses[:nth]) for nth in range(5)]
    assert [result.metadata["retry_at"] for result in results] == [None] * 10
    assert "nobody knows for how long" in str(results[-1].error)


async def test_after_a_success_a_further_one_is_waited_for_as_the_first(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited(), ANSWER, limited()]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=1) as manager:
        results = await run_tasks(manager, vendor, *["busy"] * 4)
    assert ends(results) == ["rate_limited", "completed", "rate_limited", "completed"]
    assert vendor.begun() == [0, 61, 61, 122]


async def test_those_that_began_together_meet_one_limit_and_not_several(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited(), limited(after=10), limited(after=20)]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=3) as manager:
        results = await run_tasks(manager, vendor, *["busy"] * 4)
    assert ends(results) == ["rate_limited"] * 3 + ["completed"]
    assert vendor.begun() == [0, 0, 0, 61]


async def test_a_success_that_began_before_it_does_not_end_it(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited(), (Say({"type": "result"}, after=10), Leave())]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=2) as manager:
        results = await run_tasks(manager, vendor, *["busy"] * 3)
    assert ends(results) == ["rate_limited", "completed", "completed"]
    assert vendor.begun() == [0, 0, 61]


async def test_a_task_that_waits_for_it_can_be_cancelled(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited(time.time() + 100)]
    async with WorkerManager(app_of(tmp_path, fake=vendor), max_concurrent=1) as manager:
        await give_first(manager, "busy")
        (worker_id,) = await manager.spawn_workers("busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.testing.wait_all_tasks_blocked()
            await manager.cancel_tasks()
        (result,) = await manager.collect_results([worker_id])
    assert (ends([result]), len(vendor.runs)) == (["cancelled"], 1)


async def test_one_that_ended_before_this_engine_holds_nothing_back(
    autojump_clock: MockClock, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.scripts = [limited()]
    app = app_of(tmp_path, fake=vendor)
    async with WorkerManager(app) as manager:
        await give_first(manager, "busy")
    async with WorkerManager(app) as later:
        await later.recover()
        assert ends(await run_tasks(later, vendor, "busy")) == ["completed"]
    assert vendor.begun() == [0, 1]


@pytest.mark.parametrize("retry_at", [float("nan"), float("-inf"), -1e308, 0.0], ids=str)
async def test_a_moment_that_is_over_or_none_is_one_that_nobody_knows(
    autojump_clock: MockClock, retry_at: float
) -> None:
    limits = RateLimits(LONGEST, lambda _: None)
    limits.met("busy", retry_at)
    began = trio.current_time()
    await limits.wait("busy")
    assert trio.current_time() - began == FIRST_PAUSE


@pytest.mark.parametrize("retry_at", [1e308, float("inf")], ids=str)
async def test_a_moment_that_no_calendar_has_is_too_late(autojump_clock: MockClock, retry_at: float) -> None:
    limits = RateLimits(LONGEST, lambda _: None)
    limits.met("busy", retry_at)
    with pytest.raises(RateLimited, match="until a time that no calendar has"):
        await limits.wait("busy")
