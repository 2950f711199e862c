"""One task and several who deal with it: it is read once, ended once, and everybody gets its one result."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import Task, WorkerManager, WorkerResult, WorkerStatus
from mahavishnu_core.errors import PluginError, UnknownTask, UnknownWorker
from mahavishnu_core.events import TaskEvent
from mahavishnu_core.testing.fakes import FakeRun
from tests.fakes import ANSWER, FakeStorage, Hang, Leave, Say, Script, SharedPlace, app_of, text

LONG: Script = (text("begun"), Say({"type": "result", "result": "the answer"}, after=60.1), Leave())
HANGING: Script = (text("begun"), Hang())
PATIENCE = 600.0
"""By the mock clock, and longer than any time limit: whoever waits that long waits for ever."""


@pytest.fixture
async def place(nursery: trio.Nursery) -> SharedPlace:
    return SharedPlace(nursery, script=lambda _: LONG)


@attrs.define
class Waiter:
    """Someone who waits for a task."""

    manager: WorkerManager
    result: WorkerResult | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def wait(self, task_id: str) -> None:
        with self.scope, trio.fail_after(PATIENCE):
            self.result = await self.manager.wait_for_task(task_id)


# --- waiting for a task


async def test_a_task_that_was_submitted_can_be_waited_for(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        result = await manager.wait_for_task(task_id)
        assert (result.status, result.output) == (WorkerStatus.COMPLETED, "the answer")
        assert manager.app.state.result(manager.app.state.task(task_id)) == result


async def test_several_who_wait_share_one_reading(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    seen: list[TaskEvent] = []
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        manager.observe(seen.append)
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        waiters = [Waiter(manager) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for waiter in waiters:
                nursery.start_soon(waiter.wait, task_id)
        stored = manager.app.state.result(manager.app.state.task(task_id))
    assert stored is not None
    assert [waiter.result for waiter in waiters] == [stored] * 3
    assert place.looked_for == [task_id]
    assert [event.seq for event in seen] == [1, 2]


async def test_when_the_one_who_reads_is_cancelled_another_reads_on(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        reader, second, third = (Waiter(manager) for _ in range(3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait, task_id)
            await trio.sleep(1)
            nursery.start_soon(second.wait, task_id)
            nursery.start_soon(third.wait, task_id)
            await trio.sleep(1)
            reader.scope.cancel()
    assert reader.result is None
    assert second.result is not None
    assert second.result == third.result
    assert second.result.is_success()
    assert place.looked_for == [task_id] * 2
    assert place.runs[0].asked == []


async def test_whoever_carries_a_task_out_is_the_one_who_reads_it(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        waiter = Waiter(manager)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.sleep(1)
            nursery.start_soon(waiter.wait, f"{worker_id}.1")
    assert waiter.result is not None
    assert waiter.result.is_success()
    assert place.looked_for == []


async def test_the_task_of_another_engine_can_be_waited_for(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place)
    results: list[WorkerResult] = []
    async with WorkerManager(app) as theirs, WorkerManager(app) as ours:
        (worker_id,) = await theirs.spawn_workers("fake")

        async def execute() -> None:
            results.append(await theirs.execute_task(worker_id, "go"))

        waiter = Waiter(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.sleep(1)
            nursery.start_soon(waiter.wait, f"{worker_id}.1")
    assert results == [waiter.result]
    assert results[0].is_success()


@pytest.mark.parametrize(("prompt", "readings"), [("long", 1), ("short", 0)])
async def test_a_task_that_waits_for_a_slot_elsewhere_is_left_to_its_engine_until_it_runs(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path, prompt: str, readings: int
) -> None:
    place.script = lambda task: LONG if task.prompt == "long" else ANSWER
    app = app_of(tmp_path, fake=place)
    seen: list[TaskEvent] = []
    async with WorkerManager(app, max_concurrent=1) as theirs, WorkerManager(app) as ours:
        ours.observe(seen.append)
        first, second = await theirs.spawn_workers("fake", 2)
        waiter = Waiter(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.execute_task, first, "long")
            await trio.sleep(1)
            nursery.start_soon(theirs.execute_task, second, prompt)
            await trio.sleep(1)
            nursery.start_soon(waiter.wait, f"{second}.1")
            await trio.sleep(30)
            assert place.looked_for == []
    assert waiter.result is not None
    assert waiter.result.is_success()
    assert place.looked_for == [f"{second}.1"] * readings
    assert len(seen) == 2 * readings


async def test_the_result_of_a_task_that_has_ended_is_there_at_once_and_needs_no_plugin(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    async with WorkerManager(app_of(tmp_path)) as later:
        began = trio.current_time()
        assert await later.wait_for_task(f"{worker_id}.1") == result
        assert trio.current_time() == began
    assert place.looked_for == []


async def test_a_task_that_no_plugin_reads_cannot_be_waited_for(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        await place.runs[0].started()
        async with WorkerManager(app_of(tmp_path)) as without:
            with pytest.raises(PluginError, match="no plugin reads the output of agent 'fake'"):
                await without.wait_for_task(task_id)


async def test_an_unknown_task_can_neither_be_waited_for_nor_cancelled(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with pytest.raises(UnknownTask, match="there is no task"):
            await manager.wait_for_task(f"{worker_id}.1")
        with pytest.raises(UnknownTask, match="there is no task"):
            await manager.cancel_task(f"{worker_id}.1")


# --- cancelling a task


async def test_a_cancelled_task_of_ones_own_is_settled_and_stored_when_that_returns(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    storage = FakeStorage()
    async with WorkerManager(app_of(tmp_path, fake=place, storage=storage)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await manager.cancel_task(f"{worker_id}.1", grace_seconds=0)
            assert [(task_id, result.status) for task_id, result in storage.kept] == [
                (f"{worker_id}.1", WorkerStatus.CANCELLED)
            ]
        assert not manager.app.state.is_closed(worker_id)
    assert place.runs[0].asked == [("cancelled", 0)]
    assert place.looked_for == []


async def test_a_task_that_waits_for_a_slot_here_is_cancelled_before_it_starts(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place), max_concurrent=1) as manager:
        first, second = await manager.spawn_workers("fake", 2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, first, "go")
            await trio.sleep(1)
            nursery.start_soon(manager.execute_task, second, "go")
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await manager.cancel_task(f"{second}.1")
            statuses = [report.status for report in manager.monitor_workers([first, second])]
    assert statuses == [WorkerStatus.RUNNING, WorkerStatus.CANCELLED]
    assert [run.task.task_id for run in place.runs] == [f"{first}.1"]


async def test_a_submitted_task_that_nobody_reads_can_be_cancelled(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        await trio.sleep(1)
        with trio.fail_after(PATIENCE):
            await manager.cancel_task(task_id, grace_seconds=2)
        result = manager.app.state.result(manager.app.state.task(task_id))
    assert result is not None
    assert (result.status, result.output) == (WorkerStatus.CANCELLED, "begun")
    assert place.runs[0].asked == [("cancelled", 2)]


async def test_the_task_of_another_engine_can_be_cancelled_and_both_have_one_result(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    app = app_of(tmp_path, fake=place)
    results: list[WorkerResult] = []
    async with WorkerManager(app) as theirs, WorkerManager(app) as ours:
        (worker_id,) = await theirs.spawn_workers("fake")

        async def execute() -> None:
            results.append(await theirs.execute_task(worker_id, "go"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await ours.cancel_task(f"{worker_id}.1")
        assert results == [await ours.wait_for_task(f"{worker_id}.1")]
    assert results[0].status is WorkerStatus.CANCELLED


async def test_whoever_waits_for_a_cancelled_task_gets_its_result(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go")
        waiters = [Waiter(manager) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for waiter in waiters:
                nursery.start_soon(waiter.wait, task_id)
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await manager.cancel_task(task_id)
            assert manager.app.state.status(manager.app.state.task(task_id)) is WorkerStatus.CANCELLED
    cancelled, same = (waiter.result for waiter in waiters)
    assert cancelled is not None
    assert cancelled == same
    assert cancelled.status is WorkerStatus.CANCELLED
    assert len(place.runs[0].asked) == 1


async def test_a_task_that_is_cancelled_while_its_command_is_being_found_is_ended(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    place.seconds_to_find = 3
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go", timeout_seconds=300)
        waiter = Waiter(manager)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait, task_id)
            await trio.sleep(1)
            began = trio.current_time()
            with trio.fail_after(PATIENCE):
                await manager.cancel_task(task_id)
            assert trio.current_time() - began < 10
    assert waiter.result is not None
    assert waiter.result.status is WorkerStatus.CANCELLED


async def test_nothing_is_done_to_a_task_that_has_ended(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
        with trio.fail_after(PATIENCE):
            await manager.cancel_task(f"{worker_id}.1")
        assert await manager.wait_for_task(f"{worker_id}.1") == result
    assert result.is_success()
    assert place.runs[0].asked == []
    assert place.looked_for == []


async def test_a_task_whose_submission_is_cancelled_is_ended_and_its_worker_is_free(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = SharedPlace._launch

    async def slowly(self: SharedPlace, task: Task) -> FakeRun:
        await trio.sleep(10)
        return await launch(self, task)

    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with monkeypatch.context() as patch, trio.move_on_after(5) as waiting:
            patch.setattr(SharedPlace, "_launch", slowly)
            await manager.submit_task(worker_id, "go")
        assert waiting.cancelled_caught
        with trio.fail_after(PATIENCE):
            result = await manager.wait_for_task(f"{worker_id}.1")
            again = await manager.execute_task(worker_id, "go")
    assert result.status is WorkerStatus.CANCELLED
    assert again.is_success()


# --- following, closing


async def test_following_waits_for_what_this_engine_carries_out_itself(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    results: list[WorkerResult] = []
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        carried_out, submitted = await manager.spawn_workers("fake", 2)
        await manager.submit_task(submitted, "go")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, carried_out, "go")
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await manager.follow(on_result=results.append)
    assert {result.worker_id for result in results} == {carried_out, submitted}
    assert all(result.is_success() for result in results)
    assert place.looked_for == [f"{submitted}.1"]


async def test_an_unknown_worker_cannot_be_followed(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(ExceptionGroup) as caught:
            await manager.follow(["nobody"])
    assert caught.group_contains(UnknownWorker, match="'nobody'")


async def test_a_worker_that_is_closed_has_its_task_settled_by_whoever_carries_it_out(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: HANGING
    storage = FakeStorage()
    async with WorkerManager(app_of(tmp_path, fake=place, storage=storage)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.sleep(1)
            with trio.fail_after(PATIENCE):
                await manager.close_worker(worker_id)
            assert [(task_id, result.status) for task_id, result in storage.kept] == [
                (f"{worker_id}.1", WorkerStatus.CANCELLED)
            ]
    assert place.looked_for == []
    assert place.closed == [worker_id]
