"""Section A of the fault matrix: output without end, on whichever stream, is ended at the limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu_core import WorkerManager, WorkerStatus, keeper
from mahavishnu_core.app import load_app
from mahavishnu_core.testing.environs import home_in

LIMIT = 1_000_000


@pytest.mark.parametrize(
    "line",
    ["yes", "yes >&2", f"yes | head -c {3 * LIMIT}"],
    ids=["on its output", "on its error output", "faster than it is read"],
)
async def test_a5_what_floods_is_ended_at_the_limit_of_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(keeper.output, "OUTPUT_LIMIT", LIMIT)
    app = load_app(environ=home_in(tmp_path) | {"MAHAVISHNU_STATE_DIR": str(tmp_path / "state")})
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("shell", repo=tmp_path)
        result = await manager.execute_task(worker_id, line)
        directory = app.state.task(f"{worker_id}.1").directory
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "output_limit")
    assert sum(path.stat().st_size for path in directory.glob("std*")) > LIMIT
