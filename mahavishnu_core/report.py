"""How a worker stands: what ``list`` and ``monitor`` show of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.keeper.family import boot_id
from mahavishnu_core.keeper.files import read_record
from mahavishnu_core.models import JSON, Task, Worker, WorkerStatus
from mahavishnu_core.text import one_line, redact, secret_begun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.state import StateDir
    from mahavishnu_core.tally import Tally
    from mahavishnu_core.task_run import TaskRun

_ACTIVITY_LENGTH = 200


@attrs.frozen
class WorkerReport:
    """One worker at one moment. ``elapsed_seconds`` is of its latest task."""

    worker_id: str
    worker_type: str
    status: WorkerStatus
    task_id: str | None = None
    elapsed_seconds: float | None = None
    activity: str = ""
    """The last tool, words or progress, or the beginning of what came of it; one line, secrets taken out.

    Empty while no engine here follows the task.
    """
    tokens: int | None = None
    cost_usd: float | None = None
    workspace: str = ""
    created: str = ""
    closed: bool = False

    def to_dict(self) -> dict[str, JSON]:
        fields: dict[str, JSON] = attrs.asdict(self)
        return fields | {"status": self.status.value}


def report(state: StateDir, worker: Worker, runs: Mapping[str, TaskRun]) -> WorkerReport:
    """A worker's report: of its files, and of the run of its task where this engine has one."""
    task = state.last_task(worker.worker_id)
    base = WorkerReport(
        worker_id=worker.worker_id,
        worker_type=worker.type.name,
        status=WorkerStatus.PENDING,
        workspace=str(worker.workspace),
        created=worker.created,
        closed=state.is_closed(worker.worker_id),
    )
    if task is None:
        return base
    run = runs.get(task.task_id)
    filled = _of_run(base, run) if run is not None else _of_files(base, state, task)
    return attrs.evolve(filled, task_id=task.task_id, elapsed_seconds=_elapsed(state, task))


def _of_run(base: WorkerReport, run: TaskRun) -> WorkerReport:
    tally = run.output.tally
    usage = tally.usage
    return attrs.evolve(
        base,
        status=run.status,
        activity=activity_of(tally, run.engine.app.secrets),
        tokens=usage.tokens.total if usage else None,
        cost_usd=usage.cost_usd if usage else None,
    )


def activity_of(tally: Tally, secrets: tuple[str, ...]) -> str:
    """The last words that were seen, on one line and without a secret or the beginning of one."""
    words = redact(tally.activity, secrets)
    begun = secret_begun(words, secrets) if tally.is_speaking else 0
    return one_line(words[: len(words) - begun][-_ACTIVITY_LENGTH:])


def _of_files(base: WorkerReport, state: StateDir, task: Task) -> WorkerReport:
    result = state.result(task)
    if result is None:
        return attrs.evolve(base, status=state.status(task))
    usage = cast("dict[str, int]", result.metadata.get("usage") or {})
    return attrs.evolve(
        base,
        status=result.status,
        activity=one_line((result.output if result.is_success() else result.error) or "", _ACTIVITY_LENGTH),
        tokens=sum(usage.values()) if usage else None,
        cost_usd=cast("float | None", result.metadata.get("cost_usd")),
    )


def _elapsed(state: StateDir, task: Task) -> float | None:
    """Seconds since the command of a task began, or those that it took; None before it began."""
    if (result := state.result(task)) is not None:
        return result.duration_seconds
    record = read_record(f"{task.directory}/launch.json")
    if record is None:
        return None
    began = record.get("began")
    if isinstance(began, float) and record.get("boot_id") == boot_id():
        return time.monotonic() - began
    # of a place that says no more than when: right as long as nobody sets the clock
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(str(record.get("started")))).total_seconds()
    except (ValueError, TypeError):  # it does not say when, or not in which zone
        return None
