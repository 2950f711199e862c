"""Results and events in the form that was asked for: for people, as one JSON document, or as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from mahavishnu_cli.streams import emit, emit_json, emit_json_line
from mahavishnu_cli.words import duration
from mahavishnu_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_core import WorkerResult

Style: TypeAlias = Literal["text", "json", "jsonl"]


def style_of(*, as_json: bool, as_jsonl: bool = False) -> Style:
    """Raises UsageError for both at once."""
    if as_json and as_jsonl:
        raise UsageError("--json and --jsonl exclude each other")
    return "json" if as_json else "jsonl" if as_jsonl else "text"


def print_results(results: Sequence[WorkerResult], style: Style) -> None:
    match style:
        case "json":
            emit_json([result.to_dict() for result in results])
        case "jsonl":
            for result in results:
                emit_json_line({"type": "result", **result.to_dict()})
        case "text":
            for result in results:
                emit(_as_text(result))


def finish(results: Sequence[WorkerResult], style: Style) -> None:
    """Print the results of tasks that were carried out here, and what they come to."""
    from mahavishnu_cli.progress import on_terminal

    print_results(results, style)
    if on_terminal() and style != "jsonl":
        from mahavishnu_cli.view import print_summary

        print_summary(results)
    if style == "text":
        successful = sum(result.is_success() for result in results)
        emit(f"{successful} successful, {len(results) - successful} failed")


def outcome(result: WorkerResult) -> str:
    """``completed in 12.3 s``, ``failed (exit_status) in 0.1 s``; without the time where it took none."""
    reason = result.metadata.get("reason")
    why = f" ({reason})" if reason and reason != result.status.value else ""
    how_long = f" in {duration(result.duration_seconds)}" if result.duration_seconds else ""
    return f"{result.status.value}{why}{how_long}"


def _as_text(result: WorkerResult) -> str:
    kind = result.metadata.get("worker_type") or ""
    item = f"item {result.metadata['item']}  " if "item" in result.metadata else ""  # of a batch
    name = result.metadata.get("task_id") or result.worker_id  # without a task where it was refused
    parts = [f"=== {item}{name}  {kind}  {_lines_of_log(result) or outcome(result)} ==="]
    if result.output:
        parts.append(result.output.rstrip("\n"))
    if result.error:
        parts.append(f"error: {result.error.rstrip()}")
    return "\n".join(parts) + "\n"


def _lines_of_log(result: WorkerResult) -> str:
    """``lines 1 to 20``; nothing for the result of a task."""
    match result.metadata.get("log"):
        case {"first": first, "last": last}:
            return f"line {first}" if first == last else f"lines {first} to {last}"
    return ""
