"""The orchestrator adapter: a task over one or many repositories, with fake processes."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import OrchestratorAdapter, Worker, WorkerManager, WorkerOrchestratorAdapter
from mahavishnu_core.errors import MissingError, UsageError
from tests.fakes import ANSWER, FakePlace, Leave, Say, app_of


@pytest.fixture
def repos(tmp_path: Path) -> list[str]:
    found = [tmp_path / name for name in ("one", "two")]
    for repo in found:
        repo.mkdir()
    return [str(repo) for repo in found]


def test_the_interface_cannot_be_used_by_itself() -> None:
    with pytest.raises(TypeError, match="abstract"):
        OrchestratorAdapter()  # type: ignore[abstract]


async def test_each_repository_gets_a_worker_and_all_results_come_whole(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, repos: list[str]
) -> None:
    long_text = "x" * 5000
    place = FakePlace(nursery, script=lambda _: [Say({"type": "result", "result": long_text}), Leave()])
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        summary = await adapter.execute({"prompt": "go", "worker_type": "fake"}, repos)
        assert manager.monitor_workers() == []
    assert (summary["status"], summary["worker_count"], summary["successful"]) == ("completed", 2, 2)
    results = list(summary["results"].values())  # type: ignore[union-attr]
    assert [result["repo"] for result in results] == repos  # type: ignore[index,call-overload]
    assert {result["output"] for result in results} == {long_text}  # type: ignore[index,call-overload]


@pytest.mark.parametrize(("bad", "status"), [(1, "partial"), (2, "failed")])
async def test_failures_are_counted_and_never_called_partial_when_all_failed(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, repos: list[str], bad: int, status: str
) -> None:
    exits = iter([Leave(3)] * bad + [Leave()] * (2 - bad))
    place = FakePlace(nursery, script=lambda _: [ANSWER[0], next(exits)])
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        summary = await adapter.execute({"prompt": "go", "worker_type": "fake"}, repos)
    assert (summary["status"], summary["failed"]) == (status, bad)


async def test_more_workers_than_repositories_take_them_in_turn(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, repos: list[str]
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=FakePlace(nursery))) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        summary = await adapter.execute({"prompt": "go", "worker_type": "fake", "count": 3}, repos)
    where = [result["repo"] for result in summary["results"].values()]  # type: ignore[union-attr,index,call-overload]
    assert where == [repos[0], repos[1], repos[0]]


@pytest.mark.parametrize(
    ("task", "of_repos", "message"),
    [
        ({}, True, "needs a 'prompt'"),
        ({"prompt": "go"}, False, "at least one repository"),
        ({"prompt": "go", "count": 0}, True, "'count' must be 1 or more"),
        ({"prompt": "go", "worker_type": "fake", "timeout": "soon"}, True, "'timeout' must be a number"),
    ],
)
async def test_a_task_that_makes_no_sense_is_refused_and_leaves_nothing(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    tmp_path: Path,
    repos: list[str],
    task: dict[str, object],
    of_repos: bool,
    message: str,
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=FakePlace(nursery))) as manager:
        with pytest.raises(UsageError, match=message):
            await WorkerOrchestratorAdapter(manager).execute(task, repos if of_repos else [])  # type: ignore[arg-type]
        assert manager.monitor_workers() == []


async def test_name_capabilities_and_health(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, fake=FakePlace(nursery)), max_concurrent=7) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        assert adapter.name == "worker"
        assert "execute" in adapter.capabilities
        health = await adapter.get_health()
    assert health == {"status": "healthy", "adapter_type": "worker", "workers_active": 0, "max_concurrent": 7}


@attrs.define(eq=False)
class Stuck(FakePlace):
    """Cannot give back what its first worker holds, and says so at once or never."""

    hangs: bool = False

    async def _close(self, worker: Worker) -> None:
        await trio.lowlevel.checkpoint()
        if worker.worker_id == self.spawned[0]:
            if self.hangs:
                await trio.sleep_forever()
            raise MissingError("the daemon is down")
        self.closed.append(worker.worker_id)


async def test_a_worker_that_cannot_be_closed_costs_no_result_and_keeps_no_other_open(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, repos: list[str]
) -> None:
    place = Stuck(nursery)
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        summary = await adapter.execute({"prompt": "go", "worker_type": "fake"}, repos)
        assert (summary["status"], summary["successful"]) == ("completed", 2)
        assert summary["not_closed"] == {place.spawned[0]: "the daemon is down"}
        assert place.closed == place.spawned[1:]
        await manager.spawn_workers("fake", 2)
        with pytest.raises(MissingError, match="the daemon is down"):
            await manager.close_all()
        assert [report.worker_id for report in manager.monitor_workers()] == place.spawned[:1]


async def test_a_place_that_never_comes_to_an_end_of_closing_costs_no_result(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, repos: list[str]
) -> None:
    place = Stuck(nursery, hangs=True)
    async with WorkerManager(app_of(tmp_path, fake=place)) as manager:
        adapter = WorkerOrchestratorAdapter(manager)
        summary = await adapter.execute({"prompt": "go", "worker_type": "fake"}, repos)
    assert (summary["successful"], summary["not_closed"]) == (
        2,
        dict.fromkeys(place.spawned, "it could not be closed within 30 s"),
    )
