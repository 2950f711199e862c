"""What is kept of a log: batches of its lines, each a row, and how one is shown among results."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mahavishnu_core.errors import StorageError
from mahavishnu_core.models import JSON, LogBatch, Worker, WorkerResult, WorkerStatus
from mahavishnu_core.text import redact
from mahavishnu_sqlite.record import check_size, storable

_HIGHEST = 2**63 - 1
"""The highest integer that SQLite has."""


@attrs.frozen
class LogRecord:
    """One row of the table ``logs``, field by field; any of them can be written without an error."""

    worker_id: str
    worker_type: str
    first: int
    last: int
    created: str
    text: str
    """The lines, joined by line feeds."""


def log_record_of(worker: Worker, batch: LogBatch, secrets: tuple[str, ...]) -> LogRecord:
    """Raises StorageError for what no database can take: numbers that no lines have, too many characters."""
    if not 1 <= batch.first <= batch.last <= _HIGHEST:
        raise StorageError(
            f"lines {batch.first} to {batch.last} of worker {worker.worker_id!r} are no batch: give at least "
            "one, counted from 1"
        )
    # together, since a secret may go over several lines
    text = storable(redact("\n".join(batch.lines), secrets))
    record = LogRecord(
        worker_id=storable(worker.worker_id),
        worker_type=storable(worker.type.name),
        first=batch.first,
        last=batch.last,
        created=storable(batch.created),
        text=text,
    )
    what = f"the batch of lines {record.first} to {record.last} of worker {record.worker_id!r}"
    check_size(what, [text], "give fewer at once")
    return record


def result_of_log(row: Mapping[str, JSON]) -> WorkerResult:
    """The lines of a row of the table ``logs``, as what their worker has put out while it runs."""
    return WorkerResult(
        worker_id=str(row["worker_id"]),
        status=WorkerStatus.RUNNING,
        output=str(row["text"]),
        metadata={
            "worker_type": row["worker_type"],
            "log": {"first": row["first"], "last": row["last"]},
        },
        timestamp=str(row["created"]),
    )
