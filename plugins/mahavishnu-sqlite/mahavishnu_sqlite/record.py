"""What is kept of a task: its prompt, its result, and the figures that are worth asking for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

import attrs

from mahavishnu_core.errors import StorageError
from mahavishnu_core.models import JSON, Task, Worker, WorkerResult

_MOST_CHARACTERS = 200_000_000
"""Of one record. SQLite takes 1 GB a row; one record over that would fail all that are written with it."""


@attrs.frozen
class ResultRecord:
    """One row of the table ``results``, field by field; any of them can be written without an error."""

    task_id: str
    worker_id: str
    worker_type: str
    agent: str
    place: str
    workspace: str
    session_id: str
    model: str | None
    status: str
    reason: str | None
    prompt: str
    output: str | None
    error: str | None
    exit_code: int | None
    duration_seconds: float
    cost_usd: float | None
    cost_origin: str | None
    input_tokens: int | None
    output_tokens: int | None
    created: str
    timestamp: str
    metadata: str
    """All of the result's metadata, as JSON: what the columns cannot hold exactly is exact here."""


def record_of(worker: Worker, task: Task, result: WorkerResult) -> ResultRecord:
    """Raises StorageError for what no database can take: texts of hundreds of megabytes, cyclic metadata."""
    known = result.metadata
    usage = known.get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    record = ResultRecord(
        task_id=storable(task.task_id),
        worker_id=storable(worker.worker_id),
        worker_type=storable(worker.type.name),
        agent=storable(worker.type.agent),
        place=storable(worker.type.place),
        workspace=storable(str(worker.workspace)),
        session_id=_text(known.get("session_id")) or storable(task.session_id),
        model=_text(known.get("model")),
        status=result.status.value,
        reason=_text(known.get("reason")),
        prompt=storable(task.prompt),
        output=_text(result.output),
        error=_text(result.error),
        exit_code=_integer(result.exit_code),
        duration_seconds=_real(result.duration_seconds) or 0.0,
        cost_usd=_real(known.get("cost_usd")),
        cost_origin=_text(known.get("cost_origin")),
        input_tokens=_integer(tokens.get("input_tokens")),
        output_tokens=_integer(tokens.get("output_tokens")),
        created=storable(task.created),
        timestamp=storable(result.timestamp),
        metadata=_to_json(known, task.task_id),
    )
    texts = (record.prompt, record.output or "", record.error or "", record.metadata)
    check_size(f"the result of task {record.task_id!r}", texts, "read it in the state directory")
    return record


def result_from(row: Mapping[str, JSON]) -> WorkerResult:
    """The result that a row of the table ``results`` was made from."""
    return WorkerResult.from_dict({**row, "metadata": json.loads(str(row["metadata"]))})


def storable(text: str) -> str:
    """The text with each lone surrogate, which UTF-8 cannot hold, written out as ``\\udc80``."""
    return text.encode("utf-8", "backslashreplace").decode()


def check_size(what: str, texts: Iterable[str], advice: str) -> None:
    """Raises StorageError for more than a row can take."""
    if sum(map(len, texts)) > _MOST_CHARACTERS:
        raise StorageError(
            f"{what} has over {_MOST_CHARACTERS} characters, too many for a database: {advice}"
        )


def _text(value: JSON) -> str | None:
    return storable(value) if isinstance(value, str) else None


def _integer(value: JSON) -> int | None:
    """None for what SQLite has no integer for: agents report what they like."""
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None  # type: ignore[return-value]  # an int, by the line above


def _real(value: JSON) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return None if math.isnan(value) else float(value)
    except OverflowError:
        return None


def _to_json(metadata: Mapping[str, JSON], task_id: str) -> str:
    try:
        return json.dumps(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"the metadata of task {task_id!r} cannot be written as JSON: {error}") from error
