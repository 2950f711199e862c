"""How a worker stands: for how long its command has been running."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mahavishnu_core import Worker, WorkerType
from mahavishnu_core.keeper.family import boot_id
from mahavishnu_core.models import utc_now
from mahavishnu_core.report import report
from mahavishnu_core.state import StateDir

LONG_AGO = "2020-01-01T00:00:00+00:00"
YEAR = 365 * 86400


@pytest.mark.parametrize(
    ("boot", "least", "most"),
    [
        pytest.param(boot_id(), 100, 160, id="of this boot"),
        pytest.param("another", YEAR, 1000 * YEAR, id="of another boot"),
        pytest.param(None, YEAR, 1000 * YEAR, id="of a place that only says when"),
    ],
)
def test_for_how_long_a_command_runs_does_not_depend_on_a_clock_that_somebody_sets(
    state: StateDir, boot: str | None, least: float, most: float
) -> None:
    worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), Path("/somewhere"), utc_now())
    state.add_worker(worker)
    task = state.add_task(worker, "go", 30)
    assert report(state, worker, {}).elapsed_seconds is None
    record: dict[str, object] = {"started": LONG_AGO}
    if boot is not None:
        record |= {"began": time.monotonic() - 100, "boot_id": boot}
    (task.directory / "launch.json").write_text(json.dumps(record))
    elapsed = report(state, worker, {}).elapsed_seconds
    assert elapsed is not None
    assert least <= elapsed < most
