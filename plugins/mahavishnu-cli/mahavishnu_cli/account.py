"""A running account of one task, kept from its events alone: how it stands, and what it came to."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from mahavishnu_core import Exit, Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.report import WorkerReport, activity_of
from mahavishnu_core.tally import Tally
from mahavishnu_core.text import secrets_in
from mahavishnu_core.verdict import Seen, result_of

_UNSEEN = Exit()
"""Nobody has seen how its program ended."""


@attrs.frozen
class Account:
    """What has been seen of a task so far."""

    worker_id: str
    task_id: str
    worker_type: str
    tally: Tally = attrs.field(factory=Tally)

    def report(self) -> WorkerReport:
        """How the worker stands while the task runs; when it began is not in any event."""
        usage = self.tally.usage
        return WorkerReport(
            self.worker_id,
            self.worker_type,
            WorkerStatus.RUNNING,
            self.task_id,
            activity=activity_of(self.tally, secrets_in(os.environ)),
            tokens=usage.tokens.total if usage else None,
            cost_usd=usage.cost_usd if usage else None,
        )

    def result(self) -> WorkerResult:
        """What the events say the task came to; no event says when."""
        worker = Worker(self.worker_id, WorkerType(self.worker_type, agent=""), Path(), created="")
        task = Task(self.task_id, self.worker_id, "", 0.0, "", resume=False, created="", directory=Path())
        return attrs.evolve(result_of(worker, task, Seen(self.tally, _UNSEEN)), timestamp="")
