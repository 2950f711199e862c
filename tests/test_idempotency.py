"""A task that is given twice with one key of the caller's is one task, whoever gives it and whenever."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import Task, Worker, WorkerManager, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.errors import AlreadyGiven, WorkerBusy
from mahavishnu_core.models import utc_now
from mahavishnu_core.state import StateDir
from tests.fakes import Hang, SharedPlace, app_of, text

ENGINES = 6


def add_worker(state: StateDir) -> Worker:
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), Path("/somewhere"), utc_now())
    state.add_worker(worker)
    return worker


def give(state: StateDir, worker: Worker, key: str | None) -> str:
    """The id of the task that is given, or was given before."""
    try:
        return state.add_task(worker, "a prompt", 300, key).task_id
    except AlreadyGiven as known:
        return known.task_id


def end(state: StateDir, task_id: str) -> None:
    task = state.task(task_id)
    state.settle(task, WorkerResult(task.worker_id, WorkerStatus.COMPLETED))


def directories(state: StateDir, worker: Worker) -> list[str]:
    """Everything that lies beside the worker's tasks, half-made ones too."""
    return sorted(path.name for path in (state.root / "workers" / worker.worker_id / "tasks").iterdir())


# --- in the state directory


def test_a_key_that_was_used_names_the_task_that_has_it_while_that_runs_and_afterwards(state: StateDir):
    worker = add_worker(state)
    task_id = give(state, worker, "a")
    with pytest.raises(AlreadyGiven, match=f"^this is task '{task_id}', which was given before$") as caught:
        state.add_task(worker, "again", 300, "a")
    end(state, task_id)
    assert caught.value.task_id == give(state, worker, "a") == task_id
    assert directories(state, worker) == [task_id]


def test_the_key_of_an_earlier_task_counts_while_a_later_one_runs(state: StateDir):
    worker = add_worker(state)
    first = give(state, worker, "a")
    end(state, first)
    second = give(state, worker, "b")
    assert [give(state, worker, key) for key in ("a", "b")] == [first, second]


def test_another_key_is_another_task_and_so_is_none(state: StateDir):
    worker = add_worker(state)
    ids = []
    for key in (None, "a", "b", None):
        ids.append(give(state, worker, key))
        end(state, ids[-1])
    assert directories(state, worker) == ids == [f"{worker.worker_id}.{number}" for number in range(1, 5)]


@pytest.mark.parametrize("key", [None, "another"])
def test_a_busy_worker_is_busy_for_everybody_else(state: StateDir, key: str | None):
    worker = add_worker(state)
    give(state, worker, "a")
    with pytest.raises(WorkerBusy):
        state.add_task(worker, "a prompt", 300, key)


def test_a_key_is_one_workers_own(state: StateDir):
    first, second = add_worker(state), add_worker(state)
    assert [give(state, worker, "a") for worker in (first, second)] == [
        f"{first.worker_id}.1",
        f"{second.worker_id}.1",
    ]


def test_a_task_of_an_earlier_version_has_no_key(state: StateDir):
    worker = add_worker(state)
    path = state.task(give(state, worker, "a")).directory / "task.json"
    record = json.loads(path.read_text())
    assert record.pop("idempotency_key") == "a"
    path.write_text(json.dumps(record))
    assert [task.idempotency_key for task in state.tasks(worker.worker_id)] == [None]


@attrs.frozen
class AtOnce(StateDir):
    """Where nobody writes a task down before all have found the worker free."""

    barrier: Barrier = attrs.field(factory=lambda: Barrier(ENGINES))

    def _publish(self, task: Task) -> None:
        self.barrier.wait(timeout=30)
        super()._publish(task)


def test_of_many_who_give_it_at_once_one_does_and_all_get_its_id(state: StateDir):
    worker = add_worker(state)
    racing = AtOnce(state.root)
    with ThreadPoolExecutor(ENGINES) as pool:
        ids = list(pool.map(lambda _: give(racing, worker, "a"), range(ENGINES)))
    assert ids == [f"{worker.worker_id}.1"] * ENGINES
    assert directories(state, worker) == [f"{worker.worker_id}.1"]


def test_of_many_who_give_different_tasks_at_once_the_others_find_the_worker_busy(state: StateDir):
    worker = add_worker(state)
    racing = AtOnce(state.root)

    def give_or_fail(number: int) -> str | None:
        try:
            return give(racing, worker, f"key {number}")
        except WorkerBusy:
            return None

    with ThreadPoolExecutor(ENGINES) as pool:
        ids = list(pool.map(give_or_fail, range(ENGINES)))
    assert sorted(map(str, ids)) == sorted([f"{worker.worker_id}.1", *["None"] * (ENGINES - 1)])


@attrs.frozen
class Overtaken(StateDir):
    """Where another engine does something between our first look at the tasks and our second."""

    meanwhile: list[Callable[[], None]] = attrs.field(factory=list)

    def last_task(self, worker_id: str) -> Task | None:
        found = super().last_task(worker_id)
        self._overtake()
        return found

    def tasks(self, worker_id: str) -> list[Task]:
        found = super().tasks(worker_id)
        self._overtake()
        return found

    def _overtake(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()


def test_whoever_is_overtaken_by_the_whole_task_does_not_give_it_again(state: StateDir):
    worker = add_worker(state)
    overtaken = Overtaken(state.root, [lambda: end(state, give(state, worker, "a"))])
    assert give(overtaken, worker, "a") == f"{worker.worker_id}.1"
    assert overtaken.meanwhile == []
    assert directories(state, worker) == [f"{worker.worker_id}.1"]


# --- by way of managers


@pytest.fixture
async def place(nursery: trio.Nursery) -> SharedPlace:
    return SharedPlace(nursery)


async def test_a_task_that_is_submitted_again_is_run_once(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        ids = [await manager.submit_task(worker_id, "go", idempotency_key="a")]
        ids.append(await manager.submit_task(worker_id, "go", idempotency_key="a"))
        result = await manager.wait_for_task(ids[0])
        ids.append(await manager.submit_task(worker_id, "go", idempotency_key="a"))
        assert await manager.wait_for_task(ids[-1]) == result
    assert ids == [f"{worker_id}.1"] * 3
    assert [run.task.task_id for run in place.runs] == ids[:1]
    assert [task.idempotency_key for task in manager.app.state.tasks(worker_id)] == ["a"]


async def test_two_who_submit_it_at_the_same_moment_get_one_id(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    place.script = lambda _: [text("begun"), Hang()]
    app = app_of(tmp_path, fake=place)
    ids: list[str] = []
    async with WorkerManager(app) as first, WorkerManager(app) as second:
        (worker_id,) = await first.spawn_workers("fake")

        async def submit(manager: WorkerManager) -> None:
            ids.append(await manager.submit_task(worker_id, "go", idempotency_key="a"))

        async with trio.open_nursery() as nursery:
            for manager in (first, second, first):
                nursery.start_soon(submit, manager)
        with pytest.raises(WorkerBusy):
            await second.submit_task(worker_id, "something else", idempotency_key="b")
    assert ids == [f"{worker_id}.1"] * 3
    assert len(place.runs) == 1


async def test_a_task_that_could_not_be_started_is_not_tried_again_under_its_key(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        ids = [await manager.submit_task(worker_id, "raise", idempotency_key="a") for _ in range(2)]
        result = await manager.wait_for_task(ids[1])
    assert ids == [f"{worker_id}.1"] * 2
    assert result.metadata["reason"] == "spawn"


async def test_an_engine_that_comes_later_knows_the_keys_of_earlier_ones(
    autojump_clock: MockClock, place: SharedPlace, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        task_id = await manager.submit_task(worker_id, "go", idempotency_key="a")
    async with WorkerManager(app_of(tmp_path, fake=place)) as later:
        assert await later.submit_task(worker_id, "go", idempotency_key="a") == task_id
    assert len(place.runs) == 1
