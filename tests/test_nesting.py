"""Workers that run Mahavishnu themselves: they may look at everything, and start nothing unless allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager, WorkerType, hookimpl
from mahavishnu_core.app import App
from mahavishnu_core.errors import UsageError
from mahavishnu_core.nesting import depth_of
from mahavishnu_core.testing.running import carry_out
from tests.fakes import FakePlace, app_of

REFUSED = r"^this is itself a worker \(depth 1\), and workers may be nested 1 deep: do the work here, or "


@pytest.fixture
async def place(nursery: trio.Nursery) -> FakePlace:
    return FakePlace(nursery)


def seen_from(depth: int, app: App, **variables: str) -> App:
    """The app as a worker at that depth has it."""
    return attrs.evolve(app, environ={**app.environ, "MAHAVISHNU_DEPTH": str(depth), **variables})


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("", 0),
        ("0", 0),
        ("1", 1),
        ("12", 12),
        ("junk", 0),
        ("-1", 0),
        ("1.5", 0),
        (" 2", 0),
        ("²", 0),
        ("٣", 0),
    ],
)
def test_what_is_no_number_is_no_depth(text: str, depth: int) -> None:
    assert depth_of({"MAHAVISHNU_DEPTH": text}) == depth


def test_without_the_variable_nobody_stands_between_us_and_the_user() -> None:
    assert depth_of({"DEPTH": "3"}) == 0


@pytest.mark.parametrize("handed_on", [{}, {"MAHAVISHNU_DEPTH": "5"}])
def test_a_program_that_is_handed_few_variables_is_known_by_those_above_it(handed_on: dict[str, str]) -> None:
    """As an agent starts its MCP servers, with a shell in between."""
    asks = "import os; from mahavishnu_core.nesting import depth_of; print(depth_of(os.environ))"
    shell = f"['sh', '-c', 'exec \"$@\"; :', 'sh', sys.executable, '-c', {asks!r}]"
    agent = f"import subprocess, sys; subprocess.run({shell}, env={handed_on!r})"
    environ = {"MAHAVISHNU_DEPTH": "2", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", agent], env=environ, check=True, capture_output=True, text=True
    )
    assert done.stdout == handed_on.get("MAHAVISHNU_DEPTH", "2") + "\n"


async def test_a_worker_cannot_spawn_workers(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    async with WorkerManager(seen_from(1, app_of(tmp_path, fake=place))) as manager:
        with pytest.raises(UsageError, match=REFUSED + "have the user raise the setting 'max_worker_depth'$"):
            await manager.spawn_workers("fake")
    assert place.spawned == []


async def test_a_worker_cannot_give_tasks_to_workers_that_are_there(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place)
    async with WorkerManager(app) as users, WorkerManager(seen_from(1, app)) as workers:
        (worker_id,) = await users.spawn_workers("fake")
        with pytest.raises(UsageError, match=REFUSED):
            await workers.execute_task(worker_id, "go")
        with pytest.raises(UsageError, match=REFUSED):
            await workers.submit_task(worker_id, "go")
        (result,) = await workers.execute_batch([worker_id], ["go"])
        assert users.app.state.tasks(worker_id) == []
    assert result.metadata["reason"] == "refused"
    assert "this is itself a worker" in str(result.error)
    assert place.runs == []


async def test_a_worker_may_look_at_everything(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place)
    async with WorkerManager(app) as users, WorkerManager(seen_from(1, app)) as workers:
        (worker_id,) = await users.spawn_workers("fake")
        result = await users.execute_task(worker_id, "go")
        assert await workers.wait_for_task(f"{worker_id}.1") == result
        assert await workers.collect_results() == [result]
        assert workers.monitor_workers() == users.monitor_workers()
        assert (await workers.health()).status == "healthy"


async def test_a_worker_may_start_workers_as_deep_as_the_setting_says(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    app = seen_from(1, app_of(tmp_path, fake=place), MAHAVISHNU_MAX_WORKER_DEPTH="2")
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert (await manager.execute_task(worker_id, "go")).is_success()


@pytest.mark.parametrize("depth", [2, 3])
async def test_a_worker_that_is_deeper_than_the_setting_says_starts_none(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, depth: int
) -> None:
    app = seen_from(depth, app_of(tmp_path, fake=place), MAHAVISHNU_MAX_WORKER_DEPTH="2")
    async with WorkerManager(app) as manager:
        with pytest.raises(UsageError, match=rf"\(depth {depth}\), and workers may be nested 2 deep"):
            await manager.spawn_workers("fake")
    assert place.spawned == []


# --- with real processes


class Script:
    """Worker types whose prompts are scripts: ``sh`` reads them from its standard input."""

    @hookimpl
    def worker_types(self) -> list[WorkerType]:
        return [WorkerType("script", "generic", command_template="sh", progress_tracking="lines")]


PROGRAM = """
import trio
from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import UsageError

async def main():
    async with WorkerManager() as manager:
        print(len(manager.monitor_workers()), "workers")
        try:
            await manager.spawn_workers("script")
        except UsageError as error:
            print(error)

trio.run(main)
"""


@pytest.mark.parametrize(("ours", "theirs"), [("", "1"), ("1", "2")])
async def test_a_command_finds_its_depth_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, ours: str, theirs: str
) -> None:
    monkeypatch.setenv("MAHAVISHNU_DEPTH", ours)
    (result,) = await carry_out(Script(), "script", "echo $MAHAVISHNU_DEPTH")
    assert result.output == theirs


async def test_a_worker_that_runs_mahavishnu_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing_left: None
) -> None:
    monkeypatch.delenv("MAHAVISHNU_DEPTH", raising=False)
    (tmp_path / "program.py").write_text(PROGRAM)
    script = f"""
    export MAHAVISHNU_STATE_DIR='{tmp_path}/state' XDG_CONFIG_HOME='{tmp_path}/config'
    cd '{tmp_path}' && exec '{sys.executable}' program.py
    """
    (result,) = await carry_out(Script(), "script", script)
    assert str(result.output).startswith("0 workers\nthis is itself a worker (depth 1)")
