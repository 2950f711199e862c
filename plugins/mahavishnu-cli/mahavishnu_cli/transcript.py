"""Events as people read them: a transcript, one piece an event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from mahavishnu_cli.show import outcome
from mahavishnu_cli.streams import emit
from mahavishnu_core.events import (
    Event,
    Finished,
    Notice,
    Oversize,
    Progress,
    Raw,
    Started,
    TaskEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from mahavishnu_core.pieces import stderr_tail
from mahavishnu_core.text import one_line, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Task, WorkerResult
    from mahavishnu_core.models import JSON

_TELLING_KEYS = ("command", "file_path", "path", "pattern", "query", "url", "description", "prompt")
"""What says most about a tool call, first that is there; seen in claude 2.1 and qwen 0.15."""
_ARGUMENT_WIDTH = 120
_RESULT_LINES = 12
_STDERR_LINES = 20
_HEAD = 200
_SAID_BY_THE_END = {"exit_status", "signal"}
"""What a parser makes of an exit: the last line says it."""


@attrs.define(eq=False)
class Transcript:
    """Prints the events of one task as they come, secrets taken out."""

    _task: Task
    _secrets: tuple[str, ...]
    has_begun: bool = False

    def observe(self, item: TaskEvent) -> None:
        if item.task_id == self._task.task_id:
            self.add([item.event])

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if not self.has_begun:
                self.has_begun = True
                self._emit(f"=== {self._task.task_id}: {one_line(self._task.prompt, _ARGUMENT_WIDTH)}")
            if text := piece(event):
                self._emit(text)

    def end(self, result: WorkerResult | None) -> None:
        """What the command said on its error output, and what came of the task."""
        lines = stderr_tail(self._task).splitlines()
        if len(lines) > _STDERR_LINES:
            self._emit(f"stderr: (earlier lines are in {self._task.directory / 'stderr.log'})")
        for line in lines[-_STDERR_LINES:]:
            self._emit(f"stderr: {line}")
        if result is not None:
            error = f": {one_line(result.error, _HEAD)}" if result.error else ""
            self._emit(f"=== {self._task.task_id} {outcome(result)}{error}")

    def _emit(self, text: str) -> None:
        emit(redact(text, self._secrets))


def piece(event: Event) -> str | None:
    """What a transcript says of an event; None for what is said elsewhere, or is shown whole later."""
    text = _piece(event)
    if text is None or getattr(event, "parent", None) is None:
        return text
    return _indented(text, "  | ")  # a subagent's


def main_argument(data: JSON) -> str:
    """The argument of a tool call that says most, on one line."""
    if isinstance(data, dict):
        values = [data[key] for key in _TELLING_KEYS if key in data] or list(data.values())
        data = values[0] if values else ""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return one_line(text, _ARGUMENT_WIDTH)


def _piece(event: Event) -> str | None:
    match event:
        case Started():
            return _started(event)
        case Text(partial=False, text=text):
            return text.rstrip("\n")
        case Thinking(partial=False, text=text):
            return _indented(text.strip(), "~ ")
        case ToolCall(name=name, input=data):
            return f"> {one_line(name)} {main_argument(data)}".rstrip()
        case ToolResult():
            return _tool_result(event)
        case Notice(kind="noise", text=text):
            return _indented(text, "? ")
        case Notice(kind=kind, text=text):
            return _indented(f"{kind}: {text}", "* ")
        case Progress(words=words) if words:
            return _indented(words, "% ")
        case Finished(success=False, reason=reason) if reason not in _SAID_BY_THE_END:
            return f"--- the agent reports a failure ({one_line(reason or 'it does not say why')})"
        case Oversize(size=size, head=head):
            return f"* a line of {size} bytes, not shown; it begins: {one_line(head, _HEAD)}"
        case Raw(data=data):
            return f"* unknown event: {one_line(json.dumps(data, ensure_ascii=False), _HEAD)}"
    return None


def _started(event: Started) -> str | None:
    facts = [
        event.model,
        event.version,
        event.permission_mode,
        event.session_id and f"session {event.session_id}",
    ]
    known = [one_line(fact) for fact in facts if fact]
    return "--- " + ", ".join(known) if known else None


def _tool_result(event: ToolResult) -> str:
    lines = event.text.rstrip("\n").split("\n")
    shown = lines[:_RESULT_LINES]
    if len(lines) > len(shown):
        shown.append(f"({len(lines) - len(shown)} more lines; --raw shows them)")
    return _indented("\n".join(shown), "! " if event.is_error else "< ")


def _indented(text: str, mark: str) -> str:
    return "\n".join(mark + line for line in text.split("\n"))
