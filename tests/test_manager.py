"""The manager with fake processes and Trio's mock clock: limits, times, cancellation, isolation."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import Command, Task, Worker, WorkerManager, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.errors import MissingError, UnknownWorker, UnknownWorkerType, UsageError, WorkerBusy
from mahavishnu_core.events import TaskEvent
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import LogBatch
from mahavishnu_core.stream import GenericParser
from tests.fakes import ANSWER, FakePlace, FakeStorage, Hang, Leave, Say, app_of, text

IDLE = attrs.evolve(WorkerType("fake", "fake", "fake"), idle_seconds=60.0)


@pytest.fixture
async def place(nursery: trio.Nursery) -> FakePlace:
    return FakePlace(nursery)


async def test_workers_are_spawned_with_ids_of_their_own(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        ids = await manager.spawn_workers("fake", 3)
        assert [worker.worker_id for worker in manager.app.state.workers()] == ids
    assert len(set(ids)) == 3
    assert set(place.spawned) == set(ids)


async def test_the_facts_of_a_place_are_kept_with_the_worker(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert manager.app.state.worker(worker_id).facts == {"room": 1}


async def test_where_workers_are_switched_off_there_are_none_from_python_either(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
    app = attrs.evolve(app_of(tmp_path, fake=place), overrides={"workers_enabled": False})
    async with WorkerManager(app) as manager:
        with pytest.raises(UsageError, match="workers are switched off"):
            await manager.spawn_workers("fake")
        with pytest.raises(UsageError, match="workers are switched off"):
            await manager.execute_task(worker_id, "go")


async def test_an_unknown_type_is_named_with_what_was_meant(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(UnknownWorkerType, match="did you mean 'fake'"):
            await manager.spawn_workers("fakee")


async def test_a_count_below_one_is_refused(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(UsageError, match="count must be 1 or more"):
            await manager.spawn_workers("fake", 0)


async def test_when_one_worker_cannot_be_spawned_none_is_left(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.fail_spawn_at = 2
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(Exception, match="no room"):
            await manager.spawn_workers("fake", 3)
        assert manager.app.state.workers() == []
    assert sorted(place.closed) == sorted(place.spawned)


class SlowPlace(FakePlace):
    """Takes a minute to make a worker ready, as a daemon may."""

    async def _spawn(self, worker: Worker) -> Mapping[str, str]:
        await trio.sleep(60)
        return await super()._spawn(worker)


async def test_workers_are_made_ready_all_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    place, began = SlowPlace(nursery), trio.current_time()
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        ids = await manager.spawn_workers("fake", 20)
    assert trio.current_time() - began == pytest.approx(60)
    assert (len(ids), sorted(ids)) == (20, sorted(place.spawned))


async def test_spawning_that_is_cancelled_leaves_none(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    place = SlowPlace(nursery)
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with trio.move_on_after(30) as scope:
            await manager.spawn_workers("fake", 3)
        assert scope.cancelled_caught
        assert manager.app.state.workers() == []
        assert list((manager.app.state.root / "workers").iterdir()) == []
    assert place.spawned == []


@pytest.mark.parametrize(("wanted", "used"), [(200, 100), (0, 1), (-5, 1)])
async def test_a_limit_out_of_range_is_clamped_with_a_warning(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, wanted: int, used: int
) -> None:
    with pytest.warns(UserWarning, match=f"{used} is used"):
        manager = WorkerManager(app_of(tmp_path, fake=place), max_concurrent=wanted)
    assert manager.max_concurrent == used


@pytest.mark.parametrize(("files", "most"), [(64, 12), (16, 1), (1024, 100), (resource.RLIM_INFINITY, 100)])
def test_no_more_tasks_run_at_once_than_there_are_open_files_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert WorkerManager(app_of(tmp_path), max_concurrent=100).max_concurrent == most


async def test_a_task_gives_the_agents_answer(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "what is it?")
    assert result.status is WorkerStatus.COMPLETED
    assert result.output == "the answer"
    assert result.exit_code == 0
    assert result.metadata["task_id"] == f"{worker_id}.1"
    assert result.metadata["cost_origin"] == "unknown"


async def test_an_unknown_worker_is_said(autojump_clock: MockClock, place: FakePlace, tmp_path: Path) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(UnknownWorker, match="'nobody'"):
            await manager.execute_task("nobody", "hello")


@pytest.mark.parametrize("prompt", ["", "  \n", "half \ud800 a character"])
async def test_a_prompt_that_cannot_be_given_is_refused(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, prompt: str
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with pytest.raises(UsageError, match="the prompt"):
            await manager.execute_task(worker_id, prompt)
        assert manager.app.state.last_task(worker_id) is None


async def test_a_worker_does_one_task_at_a_time(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager, trio.open_nursery() as nursery:
        (worker_id,) = await manager.spawn_workers("fake")
        nursery.start_soon(manager.execute_task, worker_id, "first")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(WorkerBusy, match=rf"busy with task '{worker_id}\.1'"):
            await manager.execute_task(worker_id, "second")
        await manager.cancel_tasks()


async def test_an_agent_that_raises_fails_its_task_and_is_named(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "raise")
    assert result.status is WorkerStatus.FAILED
    assert result.metadata["reason"] == "spawn"
    assert "plugin 'fake'" in str(result.error)
    assert "the agent is broken" in str(result.error)


# --- batches


async def test_a_batch_gives_results_in_the_order_of_its_prompts(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda task: [
        Say({"type": "result", "result": task.prompt}, after=10.0 / len(task.prompt)),
        Leave(),
    ]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        ids = await manager.spawn_workers("fake", 3)
        results = await manager.execute_batch(ids, ["a", "bb", "ccc"])
    assert [result.output for result in results] == ["a", "bb", "ccc"]
    assert [result.worker_id for result in results] == ids


async def test_a_worker_named_twice_does_both_one_after_the_other(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        results = await manager.execute_batch([worker_id] * 3, ["a", "b", "c"])
    assert [result.metadata["task_id"] for result in results] == [f"{worker_id}.{n}" for n in (1, 2, 3)]


async def test_an_unknown_worker_in_a_batch_does_not_stop_the_others(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        good, bad = await manager.execute_batch([worker_id, "nobody"], ["a", "b"])
    assert good.is_success()
    assert bad.metadata["reason"] == "unknown_worker"


async def test_lists_of_different_length_are_refused(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        with pytest.raises(UsageError, match="must have the same length, not 2 and 1"):
            await manager.execute_batch(["a", "b"], ["x"])


async def test_no_more_tasks_run_at_once_than_the_limit_allows(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    running = most = 0

    @attrs.define(eq=False)
    class Counting(FakePlace):
        async def _launch(self, task):  # type: ignore[no-untyped-def]
            nonlocal running, most
            run = await super()._launch(task)
            running += 1
            most = max(most, running)

            async def count_down() -> None:
                nonlocal running
                await run.wait()
                running -= 1

            self.nursery.start_soon(count_down)
            return run

    counting = Counting(place.nursery, script=lambda _: [*ANSWER[:1], Leave(after=5)])
    async with WorkerManager(app_of(tmp_path, fake=counting), max_concurrent=3) as manager:
        ids = await manager.spawn_workers("fake", 10)
        results = await manager.execute_batch(ids, ["go"] * 10)
    assert all(result.is_success() for result in results)
    assert most == 3


async def test_a_task_without_a_slot_is_pending(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("working"), Hang()]
    manager = WorkerManager(app_of(tmp_path, fake=place), max_concurrent=1)
    async with manager, trio.open_nursery() as nursery:
        ids = await manager.spawn_workers("fake", 2)
        nursery.start_soon(manager.execute_batch, ids, ["a", "b"])
        await trio.sleep(1)
        statuses = {report.status for report in manager.monitor_workers(ids)}
        await manager.cancel_tasks()
    assert statuses == {WorkerStatus.RUNNING, WorkerStatus.PENDING}


# --- time


async def test_a_ten_minute_timeout_ends_a_silent_task(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("half of it"), Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        began = trio.current_time()
        result = await manager.execute_task(worker_id, "take long", timeout_seconds=600)
    assert 600 <= trio.current_time() - began < 602
    assert result.status is WorkerStatus.TIMEOUT
    assert result.metadata["reason"] == "wall"
    assert result.error == "Task timed out after 600 s"
    assert result.output == "half of it"
    assert place.runs[0].asked[0][0] == "wall"


async def test_the_settings_timeout_counts_where_none_is_given(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "take long")
    assert result.error == "Task timed out after 300 s"


async def test_time_in_the_queue_does_not_count(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Say({"type": "result", "result": "ok"}, after=80), Leave()]
    async with WorkerManager(app_of(tmp_path, fake=place), max_concurrent=1) as manager:
        ids = await manager.spawn_workers("fake", 3)
        results = await manager.execute_batch(ids, ["x"] * 3, timeout_seconds=100)
    assert all(result.is_success() for result in results)


async def test_the_idle_limit_counts_events(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.types = (IDLE,)
    place.script = lambda _: [text("a", after=50), text("b", after=50), Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert result.status is WorkerStatus.TIMEOUT
    assert result.metadata["reason"] == "idle"
    assert 160 <= result.duration_seconds < 162


async def test_what_came_while_the_engine_was_stopped_counts_before_its_limits(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.types = (IDLE,)
    place.script = lambda _: [text("a"), Leave(after=102)]

    async def stop_the_engine() -> None:
        await trio.sleep(1)
        with (place.runs[0].task.directory / "stdout.jsonl").open("ab") as file:
            file.write(text("b").output)
        autojump_clock.jump(100)

    async with WorkerManager(app_of(tmp_path, fake=place)) as manager, trio.open_nursery() as nursery:
        (worker_id,) = await manager.spawn_workers("fake")
        nursery.start_soon(stop_the_engine)
        result = await manager.execute_task(worker_id, "go")
    assert (result.output, result.metadata["evidence"]["ended_by_us"]) == ("a\n\nb", None)


async def test_a_command_that_hangs_after_its_result_has_completed(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [*ANSWER[:1], Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert result.status is WorkerStatus.COMPLETED
    assert result.metadata["warnings"] == ["killed_after_result"]
    assert 10 <= result.duration_seconds < 11


# --- cancellation


async def test_cancelled_tasks_return_cancelled_results(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("begun"), Hang()]
    results: list[WorkerResult] = []
    async with WorkerManager(app_of(tmp_path, fake=place), max_concurrent=2) as manager:
        ids = await manager.spawn_workers("fake", 3)

        async def run() -> None:
            results.extend(await manager.execute_batch(ids, ["a", "b", "c"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(1)
            await manager.cancel_tasks(grace_seconds=0)
    assert {result.status for result in results} == {WorkerStatus.CANCELLED}
    assert sorted(str(result.output) for result in results) == ["None", "begun", "begun"]
    assert [run.asked for run in place.runs] == [[("cancelled", 0)]] * 2


async def test_a_cancelled_caller_ends_the_command_and_leaves_a_result(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with trio.move_on_after(3):
            await manager.execute_task(worker_id, "go")
        (result,) = await manager.collect_results([worker_id])
    assert result.status is WorkerStatus.CANCELLED
    assert place.runs[0].exit is not None


async def test_a_task_that_ended_before_the_cancellation_keeps_its_result(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
        await manager.cancel_tasks()
        assert await manager.collect_results([worker_id]) == [result]


async def test_closing_a_worker_ends_its_task_and_keeps_its_result(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.sleep(1)
            assert await manager.close_worker(worker_id)
        assert not await manager.close_worker(worker_id)
        assert manager.monitor_workers() == []
        assert [result.status for result in await manager.collect_results()] == [WorkerStatus.CANCELLED]
        with pytest.raises(UsageError, match="is closed"):
            await manager.execute_task(worker_id, "again")
    assert place.closed == [worker_id]


async def test_close_all_leaves_no_open_worker(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        ids = await manager.spawn_workers("fake", 3)
        assert await manager.close_all() == 3
        assert manager.monitor_workers() == []
    assert sorted(place.closed) == sorted(ids)


@pytest.mark.parametrize("seconds", [0, -5.0, float("nan"), float("inf")], ids=str)
async def test_a_time_limit_that_is_none_is_refused(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, seconds: float
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with pytest.raises(UsageError, match="timeout_seconds must be a number above 0, not "):
            await manager.execute_task(worker_id, "go", timeout_seconds=seconds)
        assert not place.runs


async def test_a_worker_whose_plugin_is_gone_fails_in_its_own_place_of_a_batch(
    autojump_clock: MockClock, nursery: trio.Nursery, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        ids = await manager.spawn_workers("fake", 2)
        record = manager.app.state.root / "workers" / ids[0] / "worker.json"
        record.write_text(record.read_text().replace('"agent": "fake"', '"agent": "gone"'))
    deaf = Deaf(nursery)
    async with WorkerManager(app_of(tmp_path, fake=deaf)) as manager:
        gone, there = await manager.execute_batch(ids, ["go", "go"])
        assert await manager.collect_results(ids[:1]) == [gone]
    assert (gone.status, gone.metadata["reason"]) == (WorkerStatus.FAILED, "spawn")
    assert "'gone'" in str(gone.error)
    assert (there.status, there.output) == (WorkerStatus.COMPLETED, "the answer")


class Deaf(FakePlace):
    """Reads what its own agent says, and nothing else."""

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> GenericParser | None:
        return GenericParser() if worker.type.agent == "fake" else None


class Daemonless:
    """A place whose daemon was there when a task was launched, and is not any more."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._fake = FakePlace(nursery, script=lambda _: [Hang()])

    @hookimpl
    def worker_types(self) -> list[WorkerType]:
        return [WorkerType("far", "fake", "far")]

    @hookimpl
    def spawn(self, worker: Worker) -> object:
        return self._spawn() if worker.type.place == "far" else None

    async def _spawn(self) -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        return MappingProxyType({"container": "c1"})

    @hookimpl
    def launch(self, worker: Worker, task: Task, command: Command | None) -> object:
        return self._launch(task, command) if worker.type.place == "far" else None

    async def _launch(self, task: Task, command: Command | None) -> object:
        await trio.lowlevel.checkpoint()
        if command is None:
            raise MissingError("the daemon is not there")
        return await self._fake._launch(task)


async def test_a_daemon_that_is_gone_keeps_nobody_else_from_being_taken_up(
    autojump_clock: MockClock, nursery: trio.Nursery, place: FakePlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place, far=Daemonless(nursery))
    async with WorkerManager(app) as manager:
        far, near = [*await manager.spawn_workers("far"), *await manager.spawn_workers("fake")]
        assert manager.app.state.worker(far).facts == {"container": "c1"}
        await manager.submit_task(far, "go")
        await manager.submit_task(near, "go")
        await place.runs[0].wait()
        state = manager.app.state
        (state.task(f"{near}.1").directory / "exit.json").write_text('{"exit_code": 0}')
    async with WorkerManager(app) as later:
        await later.recover()
        assert later.app.state.result(later.app.state.task(f"{near}.1")) is not None
        assert later.app.state.result(later.app.state.task(f"{far}.1")) is None


# --- storages, observers, health


async def test_every_storage_keeps_a_result_once(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    first, second = FakeStorage(), FakeStorage()
    async with WorkerManager(app_of(tmp_path, fake=place, first=first, second=second)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
        await manager.recover()
    assert first.kept == second.kept == [(f"{worker_id}.1", result)]


async def test_a_storage_that_fails_gets_the_result_later_and_harms_nobody(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    good, bad = FakeStorage(), FakeStorage(broken=True)
    async with WorkerManager(app_of(tmp_path, fake=place, good=good, bad=bad)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
        assert result.is_success()
        assert [(failure.storage, failure.error) for failure in manager.storage_failures] == [
            ("bad", "OSError: no space left")
        ]
        assert (await manager.health()).not_stored == (f"{worker_id}.1",)
        bad.broken = False
        await manager.recover()
        assert (await manager.health()).status == "healthy"
    assert len(good.kept) == len(bad.kept) == 1


async def test_a_storage_that_raises_at_once_is_named_and_the_result_waits_for_it(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    class Broken:
        @hookimpl
        def store_result(self, task: Task) -> None:
            raise RuntimeError("cannot even begin")

    async with WorkerManager(app_of(tmp_path, fake=place, broken=Broken())) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert (await manager.execute_task(worker_id, "go")).is_success()
        assert [task.task_id for task in manager.app.state.open_tasks()] == [f"{worker_id}.1"]
        (failure,) = manager.storage_failures
        assert (failure.storage, "cannot even begin" in failure.error) == ("broken", True)


async def test_a_storage_that_hangs_is_left_behind_and_asked_again_later(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    class Hanging:
        @hookimpl
        def store_result(self, task: Task) -> object:
            return self.hang()

        async def hang(self) -> None:
            await trio.sleep_forever()

    async with WorkerManager(app_of(tmp_path, fake=place, hanging=Hanging())) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert (await manager.execute_task(worker_id, "go")).is_success()
        assert [failure.error for failure in manager.storage_failures] == ["it has not answered for 30 s"]
        assert (await manager.health()).not_stored == (f"{worker_id}.1",)


async def test_lines_of_a_log_go_to_all_storages_and_those_that_cannot_keep_them_are_named(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    kept: list[tuple[str, LogBatch]] = []

    class Storage:
        def __init__(self, fault: str = "") -> None:
            self.fault = fault

        @hookimpl
        def store_log(self, worker: Worker, batch: LogBatch) -> object:
            return None if self.fault == "declines" else self.keep(worker, batch)

        async def keep(self, worker: Worker, batch: LogBatch) -> None:
            if self.fault == "hangs":
                await trio.sleep_forever()
            if self.fault == "breaks":
                raise OSError("no space left")
            kept.append((worker.worker_id, batch))

    storages = {name or "good": Storage(name) for name in ("", "declines", "hangs", "breaks")}
    batch = LogBatch(7, ("one", "two"), "2026-01-01T00:00:00+00:00")
    worker = Worker("w", WorkerType("watcher", "generic"), tmp_path, "2026-01-01T00:00:00+00:00")
    async with WorkerManager(app_of(tmp_path, **storages)) as manager:
        assert await manager.engine.store_log(worker, batch) == {
            "good": None,
            "hangs": "it has not answered for 30 s",
            "breaks": "OSError: no space left",
        }
        assert manager.storage_failures == ()
    assert (kept, batch.last) == ([("w", batch)], 8)


async def test_what_a_missing_plugin_left_does_not_stop_an_engine(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with trio.move_on_after(1):
            await manager.execute_task(worker_id, "go")
    (tmp_path / f"state/workers/{worker_id}/tasks/{worker_id}.1/result.json").unlink()
    (tmp_path / f"state/open/{worker_id}.1").touch()
    async with WorkerManager(app_of(tmp_path)) as manager:
        await manager.recover()
        assert [task.task_id for task in manager.app.state.open_tasks()] == [f"{worker_id}.1"]


async def test_values_of_a_types_own_environment_do_not_show_in_results(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.types = (attrs.evolve(place.types[0], env={"MY_API_KEY": "supersecret-1"}),)
    place.script = lambda _: [Say({"type": "result", "result": "it is supersecret-1"}), Leave()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert (await manager.execute_task(worker_id, "go")).output == "it is [redacted]"


async def test_secrets_do_not_show_in_what_a_worker_is_doing(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hush-hush-hush")
    place.types = (WorkerType("fake", "fake", "fake", env={"API_KEY": "quiet-quiet-quiet"}),)
    place.script = lambda _: [text("hush-hush-hush and quiet-quiet-quiet"), Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager, trio.open_nursery() as nursery:
        (worker_id,) = await manager.spawn_workers("fake")
        nursery.start_soon(manager.execute_task, worker_id, "go")
        await trio.sleep(1)
        (report,) = manager.monitor_workers()
        nursery.cancel_scope.cancel()
    assert report.activity == "[redacted] and [redacted]"


async def test_events_are_told_in_order_without_a_gap(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("a"), text("b", after=1), *ANSWER]
    seen: list[TaskEvent] = []
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        manager.observe(seen.append)
        (worker_id,) = await manager.spawn_workers("fake")
        await manager.execute_task(worker_id, "go")
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert len(seen) >= 3


async def test_an_observer_that_raises_is_cut_off_and_named(place: FakePlace, tmp_path: Path) -> None:
    calls = []

    class Broken:
        @hookimpl
        def monitor(self, event: TaskEvent) -> None:
            calls.append(event)
            raise RuntimeError("cannot look")

    place.script = lambda _: [text("a"), text("b"), *ANSWER]
    async with WorkerManager(app_of(tmp_path, fake=place, broken=Broken())) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert [(refused.name, refused.reason) for refused in manager.app.host.refused] == [
        ("broken", "monitor failed: RuntimeError: cannot look")
    ]
    assert result.is_success()
    assert len(calls) == 1


async def test_health_says_degraded_when_every_slot_is_taken(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("begun"), Hang()]
    async with WorkerManager(app_of(tmp_path, fake=place), max_concurrent=1) as manager:
        assert (await manager.health()).status == "healthy"
        async with trio.open_nursery() as nursery:
            (worker_id,) = await manager.spawn_workers("fake")
            nursery.start_soon(manager.execute_task, worker_id, "go")
            await trio.sleep(1)
            from mahavishnu_core.health import take_health

            health = take_health(manager.app.state, manager.max_concurrent, await manager.sweep())
            await manager.cancel_tasks()
    assert (health.status, health.tasks_running, health.workers_active) == ("degraded", 1, 1)
