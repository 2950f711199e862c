"""Standing workers: one task from spawn to close, without a slot or a limit, and waited for by nobody."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import (
    Task,
    Worker,
    WorkerManager,
    WorkerOrchestratorAdapter,
    WorkerResult,
    WorkerStatus,
    WorkerType,
)
from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_core.models import utc_now
from mahavishnu_core.standing import begin_all
from mahavishnu_core.task_run import TERM_GRACE
from mahavishnu_core.testing.fakes import FakeRun
from tests.fakes import ANSWER, UP, FakeStorage, Hang, Leave, StandingPlace, app_of, text

STANDING = WorkerType("standing", "fake", "fake", standing=True)
TYPES = (WorkerType("fake", "fake", "fake"), STANDING)


@pytest.fixture
async def place(nursery: trio.Nursery) -> StandingPlace:
    """What stands starts, and hangs; what is given a task answers."""
    place = StandingPlace(nursery, types=TYPES)
    place.script = lambda task: ANSWER if task.timeout_seconds else (text("soon"), UP, Hang())
    return place


async def test_it_begins_when_it_is_spawned_and_is_ended_by_close(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("standing")
        (report,) = manager.monitor_workers()
        assert (report.task_id, report.status) == (f"{worker_id}.1", WorkerStatus.RUNNING)
        assert await manager.close_worker(worker_id)
        (result,) = await manager.collect_results([worker_id])
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.CANCELLED, "cancelled")
    assert place.runs[0].asked == [("cancelled", TERM_GRACE)]


async def test_it_takes_no_slot_and_no_task_waits_for_it(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place), max_concurrent=1) as manager:
        (standing,) = await manager.spawn_workers("standing")
        (worker_id,) = await manager.spawn_workers("fake")
        assert (await manager.execute_task(worker_id, "Go")).is_success()
        health = await manager.health()
        assert (health.status, health.tasks_running, health.workers_active) == ("healthy", 0, 2)
        with trio.fail_after(60):
            await manager.follow()
        assert [result.worker_id for result in await manager.collect_results()] == [worker_id]
        await manager.close_worker(standing)


async def test_it_goes_on_when_its_engine_ends(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place)
    async with WorkerManager(app) as manager:
        await manager.spawn_workers("standing")
    await trio.sleep(80_000)
    assert not place.runs[0].asked
    async with WorkerManager(app) as manager:
        await manager.recover()
        assert [report.status for report in manager.monitor_workers()] == [WorkerStatus.RUNNING]
        assert await manager.close_all() == 1


async def test_no_time_limit_ends_it_while_it_is_followed(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("standing")
        with trio.move_on_after(4000):
            await manager.follow([worker_id])
        assert not place.runs[0].asked
        await manager.close_worker(worker_id)


async def test_it_takes_no_tasks(autojump_clock: MockClock, place: StandingPlace, tmp_path: Path) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("standing")
        for give in (manager.execute_task, manager.submit_task):
            with pytest.raises(UsageError, match=f"worker '{worker_id}' of type 'standing' takes no tasks"):
                await give(worker_id, "Go")
        with pytest.raises(UsageError, match="'standing' takes no tasks: start it with 'mahavishnu workers"):
            await WorkerOrchestratorAdapter(manager).execute(
                {"prompt": "Go", "worker_type": "standing"}, [str(tmp_path)]
            )
        assert len(manager.app.state.workers()) == 1
        await manager.close_worker(worker_id)


async def test_one_that_ends_instead_was_not_spawned(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.script = lambda _: (text("not now"), Leave(3))
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(MahavishnuError, match="'standing' did not start: exit status 3"):
            await manager.spawn_workers("standing")
        assert manager.app.state.workers() == []


class SlowStorage(FakeStorage):
    async def _store(self, task: Task, result: WorkerResult) -> None:
        await trio.sleep(1)
        await super()._store(task, result)


async def test_one_that_ends_instead_is_stored_once_however_slow_a_storage_is(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.script = lambda _: (text("not now"), Leave(3))
    storage = SlowStorage()
    async with WorkerManager(app_of(tmp_path, fake=place, slow=storage)) as manager:
        with pytest.raises(MahavishnuError, match="'standing' did not start: exit status 3"):
            await manager.spawn_workers("standing")
    assert len(storage.kept) == 1


async def test_one_that_does_not_start_was_not_spawned_and_is_ended(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.script = lambda _: (text("not yet"), Hang())
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(MahavishnuError, match="'standing' had not started after 30 s"):
            await manager.spawn_workers("standing", 2)
        assert manager.app.state.workers() == []
    assert [run.asked[0][0] for run in place.runs] == ["cancelled", "cancelled"]


async def test_one_whose_agent_fails_was_not_spawned(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.types = (attrs.evolve(STANDING, description="raise"),)
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(MahavishnuError, match="the agent is broken"):
            await manager.spawn_workers("standing")
        assert manager.app.state.workers() == []


async def test_one_that_is_closed_while_it_begins_is_ended(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    class Closing(StandingPlace):
        async def _launch(self, task: Task) -> FakeRun:
            run = await StandingPlace._launch(self, task)
            await manager.close_worker(task.worker_id)
            return run

    own = Closing(place.nursery, types=TYPES, script=place.script)
    async with WorkerManager(app_of(tmp_path, fake=own)) as manager:
        with pytest.raises(MahavishnuError, match="was closed before it had started"):
            await manager.spawn_workers("standing")
        assert [run.ended.is_set() for run in own.runs] == [True]


async def test_one_that_begins_while_it_is_being_closed_is_ended(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    class Beginning(StandingPlace):
        async def _close(self, worker: Worker) -> None:
            await begin_all(manager.engine, [worker], until_started=False)

    own = Beginning(place.nursery, types=TYPES, script=place.script)
    app = app_of(tmp_path, fake=own)
    async with WorkerManager(app) as manager:
        worker = Worker(app.state.new_worker_id(), STANDING, tmp_path, utc_now())
        app.state.add_worker(worker)
        assert await manager.close_worker(worker.worker_id)
        assert [run.ended.is_set() for run in own.runs] == [True]
        assert not await manager.close_worker(worker.worker_id)


async def test_silence_does_not_end_it_while_it_is_followed(
    autojump_clock: MockClock, place: StandingPlace, tmp_path: Path
) -> None:
    place.types = (attrs.evolve(STANDING, idle_seconds=3.0),)
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("standing")
        with trio.move_on_after(60):
            await manager.follow([worker_id])
        assert not place.runs[0].asked
        await manager.close_worker(worker_id)
