"""The events: one typed thing each that happened in a task, as its agent reported it.

An agent's parser makes them from lines of output; the core numbers them. ``parent`` is the id of the tool
call of the subagent that an event belongs to, None for the worker's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


@attrs.frozen
class Started:
    """The agent is up and has named its conversation."""

    session_id: str | None
    model: str | None = None
    version: str | None = None
    permission_mode: str | None = None


@attrs.frozen
class Text:
    """Words of the agent. A partial text is a piece of one that follows whole, for live display."""

    text: str
    partial: bool = False
    parent: str | None = None


@attrs.frozen
class Thinking:
    """Reasoning that the agent shows; partial as in ``Text``."""

    text: str
    partial: bool = False
    parent: str | None = None


@attrs.frozen
class ToolCall:
    """The agent uses a tool."""

    call_id: str
    name: str
    input: JSON
    parent: str | None = None


@attrs.frozen
class ToolResult:
    """What a tool answered."""

    call_id: str
    text: str
    is_error: bool = False
    parent: str | None = None


@attrs.frozen
class Tokens:
    """Token counts. Cached input is not part of ``input``."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write


@attrs.frozen
class Usage:
    """What this task has used so far: always the total of the task, never a difference.

    ``cost_usd`` is what the agent itself reports, None where it reports nothing.
    """

    tokens: Tokens
    cost_usd: float | None = None


@attrs.frozen
class Notice:
    """Something worth knowing that is none of the above.

    Kinds in use: ``retry``, ``rate_limit``, ``permission_denied``, ``permission_request``, ``background``,
    ``compacted``, ``model``, ``error``, ``cut`` (only a part of the text is kept), ``noise`` (a line that is
    no JSON object), ``malformed``. ``retry_at`` is in seconds since the epoch: when a limit ends, where the
    agent says so.
    """

    kind: str
    text: str
    retry_at: float | None = None


@attrs.frozen
class Finished:
    """The agent's own word that the task has ended.

    ``reason`` is one word for why it did not succeed (``api_error``, ``rate_limit``, ``max_turns`` …).
    """

    success: bool
    text: str | None = None
    error: str | None = None
    reason: str | None = None
    turns: int | None = None


@attrs.frozen
class Oversize:
    """A line longer than the reader's bound: it stays in the file, ``head`` is its beginning."""

    size: int
    head: str


@attrs.frozen
class Raw:
    """An event of the agent that its parser does not know, kept as it came."""

    data: dict[str, JSON]


Event: TypeAlias = (
    Started | Text | Thinking | ToolCall | ToolResult | Usage | Notice | Finished | Oversize | Raw
)


@attrs.frozen
class TaskEvent:
    """An event in its place: ``seq`` counts the events of a task from 1, the same for every reader."""

    worker_id: str
    task_id: str
    seq: int
    event: Event


_NAMES = {
    Started: "started",
    Text: "text",
    Thinking: "thinking",
    ToolCall: "tool_call",
    ToolResult: "tool_result",
    Usage: "usage",
    Notice: "notice",
    Finished: "finished",
    Oversize: "oversize",
    Raw: "raw",
}


def event_name(event: Event) -> str:
    """The ``type`` of an event in ``--jsonl``: ``tool_call`` for a ``ToolCall``."""
    return _NAMES[type(event)]


def to_dict(item: TaskEvent) -> dict[str, JSON]:
    """One line of ``--jsonl``: type, seq, worker_id, task_id, then the event's own fields."""
    fields: dict[str, JSON] = attrs.asdict(item.event)
    head: dict[str, JSON] = {
        "type": event_name(item.event),
        "seq": item.seq,
        "worker_id": item.worker_id,
        "task_id": item.task_id,
    }
    return head | fields
