"""What killed programs leave half made is found when it is old, and removed where that is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mahavishnu_core import Worker, WorkerManager, WorkerType
from mahavishnu_core.drafts import OLD, sweep_drafts
from mahavishnu_core.state import CLAIM, StateDir
from mahavishnu_core.testing.hosts import host_with_core
from tests.fakes import app_of


def age(path: Path) -> None:
    stat = path.stat()
    os.utime(path, (stat.st_atime, stat.st_mtime - OLD - 1))


@pytest.fixture
def drafts(state: StateDir) -> list[Path]:
    """One of each kind, beside a worker with a task that is whole; all of them old."""
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), state.root, "2026-01-01")
    state.add_worker(worker)
    task = state.add_task(worker, "Go", 60)
    tasks = task.directory.parent
    made = [
        tasks.parent / "worker.json.0a1b2c",
        tasks / ".0a1b2c/task.json",
        task.directory / "result.json.0a1b2c",
        task.directory / "exit.json.4711",
        state.root / f"open/{worker.worker_id}.2",
        state.root / "workers/claimed0",
    ]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if path.name == "claimed0" else path.touch()
    made[1] = made[1].parent
    for path in state.root.rglob("*"):
        age(path)
    return made


def test_they_are_named_and_left_where_they_are(state: StateDir, drafts: list[Path]) -> None:
    found = sweep_drafts(state, remove=False)
    assert {leftover.name for leftover in found} == {
        f"file {path.relative_to(state.root)}" for path in drafts
    }
    assert {leftover.worker_id for leftover in found} == {drafts[0].parent.name, "claimed0"}
    assert all(path.exists() for path in drafts)


def test_they_are_removed_and_nothing_else(state: StateDir, drafts: list[Path]) -> None:
    before = set(state.root.rglob("*"))
    assert len(sweep_drafts(state, remove=True)) == len(drafts)
    gone = before - set(state.root.rglob("*"))
    assert gone == {*drafts, drafts[1] / "task.json"}
    assert sweep_drafts(state, remove=True) == []
    assert [task.prompt for task in state.open_tasks()] == ["Go"]


def test_one_that_may_still_be_made_is_left_alone(state: StateDir, drafts: list[Path]) -> None:
    for path in drafts:
        os.utime(path)
    assert sweep_drafts(state, remove=True) == []


def test_a_worker_that_takes_long_to_be_made_is_no_draft_as_long_as_its_engine_lives(state: StateDir) -> None:
    worker_id = state.new_worker_id()
    claimed = state.root / "workers" / worker_id
    age(claimed)
    assert sweep_drafts(state, remove=True) == []
    (claimed / CLAIM).write_text(json.dumps({"engine": {"pid": 1 << 30, "start_time": 1, "boot_id": "x"}}))
    age(claimed)
    assert [leftover.worker_id for leftover in sweep_drafts(state, remove=True)] == [worker_id]
    state.forget_worker_id(worker_id)


async def test_closing_all_workers_removes_them(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    app.host = host_with_core({})
    async with WorkerManager(app) as manager:
        draft = app.state.root / "workers/claimed0"
        draft.mkdir()
        age(draft)
        (leftover,) = (await manager.sweep()).leftovers
        assert str(leftover) == "file workers/claimed0: half made by a program that was killed"
        await manager.sweep(remove=True)
    assert not draft.exists()
