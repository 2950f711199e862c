"""How things are told to a client: reports of tasks and workers, bounded, labelled and linked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import attrs
from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent

from mahavishnu_core.text import printable, redact
from mahavishnu_mcp.shapes import UNTRUSTED, TaskAnswer, TaskReport, Words, WorkerLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Task, WorkerResult
    from mahavishnu_core.models import JSON
    from mahavishnu_core.report import WorkerReport

MOST_TEXT = 20_000
"""Characters of workers' texts in one answer, shared among its tasks: what a model reads without harm."""
_LEAST_TEXT = 500
_DETAIL = 1000
"""Characters of one text in the metadata."""
_ITEMS = 20
"""Items of one list there."""


_COMMAND = re.compile(r"'mahavishnu workers (close --all|[a-z]+)[^']*'")
_TOOLS: Final = {
    "batch": "worker_execute_batch",
    "close": "worker_close",
    "close --all": "worker_close_all",
    "execute": "worker_execute",
    "health": "worker_health",
    "list": "worker_list",
    "logs": "worker_monitor",
    "monitor": "worker_monitor",
    "results": "worker_collect_results",
    "spawn": "worker_spawn",
}
"""By command, the tool that does the same. What has none, or is the user's affair, stays a command."""


def error_text(error: BaseException) -> str:
    """What an error says, with tools in the place of the commands that it advises."""
    return _COMMAND.sub(lambda found: _TOOLS.get(found[1], found[0]), str(error))


def share(tasks: int) -> int:
    """Characters that each task's answer may have."""
    return max(_LEAST_TEXT, MOST_TEXT // max(tasks, 1))


def task_uri(task_id: str, part: str) -> str:
    return f"mahavishnu://tasks/{task_id}/{part}"


def worker_uri(worker_id: str) -> str:
    return f"mahavishnu://workers/{worker_id}"


def ended_task(result: WorkerResult, room: int) -> TaskReport:
    """A task that has ended, its texts cut to ``room`` characters."""
    task_id = str(result.metadata["task_id"])
    metadata = cast("dict[str, JSON]", _cut_all(result.metadata))
    output, error = _cut(result.output, room), _cut(result.error, room)
    return TaskReport(
        worker_id=result.worker_id,
        task_id=task_id,
        worker_type=str(result.metadata.get("worker_type") or ""),
        status=result.status.value,
        is_final=True,
        output=output,
        error=error,
        truncated=(output, error, metadata) != (result.output, result.error, result.metadata),
        output_size=len((result.output or "").encode("utf-8", "replace")),
        activity="",
        exit_code=result.exit_code,
        duration_seconds=result.duration_seconds,
        metadata=metadata,
        timestamp=result.timestamp,
        **_uris(task_id),
    )


def open_task(task: Task, report: WorkerLine) -> TaskReport:
    """A task that has not ended, with the line of its worker."""
    return TaskReport(
        worker_id=task.worker_id,
        task_id=task.task_id,
        worker_type=report.worker_type,
        status=report.status,
        is_final=False,
        output=None,
        error=None,
        truncated=False,
        output_size=0,
        activity=report.activity,
        exit_code=None,
        duration_seconds=report.elapsed_seconds,
        metadata={"task_id": task.task_id, "worker_type": report.worker_type},
        timestamp=None,
        **_uris(task.task_id),
    )


def worker_line(report: WorkerReport, secrets: tuple[str, ...]) -> WorkerLine:
    activity = printable(redact(report.activity[:_DETAIL], secrets))
    return WorkerLine(**{**attrs.asdict(report), "status": report.status.value, "activity": activity})


def task_answer(report: TaskReport) -> CallToolResult:
    return answer(TaskAnswer(**dict(report)), [report])


def answer(shape: Words, tasks: Iterable[TaskReport] = ()) -> CallToolResult:
    """A tool's answer that holds words of workers: labelled, as data and as text, with links to the whole."""
    content: list[ContentBlock] = [
        TextContent(type="text", text=UNTRUSTED),
        TextContent(type="text", text=shape.model_dump_json()),
    ]
    content += [_link(task) for task in tasks if task.is_final]
    return CallToolResult(content=content, structured_content=shape.model_dump(mode="json"))


def _link(task: TaskReport) -> ResourceLink:
    more = "the whole of an answer that is cut here" if task.truncated else "the answer"
    return ResourceLink(
        type="resource_link",
        uri=task.output_uri,
        name=f"output of {task.task_id}",
        description=f"{more}, {task.output_size} bytes; a part with ?offset=0&length=65536",
        mime_type="text/plain",
        size=task.output_size,
    )


def _uris(task_id: str) -> dict[str, str]:
    return {f"{part}_uri": task_uri(task_id, part) for part in ("output", "transcript", "stderr")}


def _cut(text: str | None, room: int) -> str | None:
    return text if text is None or len(text) <= room else text[:room]


def _cut_all(value: JSON) -> JSON:
    match value:
        case str():
            return value[:_DETAIL]
        case list():
            return [_cut_all(item) for item in value[:_ITEMS]]
        case dict():
            return {key: _cut_all(item) for key, item in value.items()}
    return value
