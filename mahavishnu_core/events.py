"""The events: one typed thing each that happened in a task, as its agent reported it.

An agent's parser makes them from lines of output; the core numbers them. ``parent`` is the id of the tool
call of the subagent that an event belongs to, None for the worker's own.

They are msgspec's frozen structs, which cost a sixth of a frozen attrs class to make: there is one for nearly
every line (docs/decisions/0013-events-are-structs.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

EVENTS_VERSION = 1
"""Of what ``--jsonl`` prints. A type or a field more does not raise it; one removed or changed does."""


def _tag(name: str) -> str:
    """``tool_call`` for ``ToolCall``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class _Event(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=_tag):
    """Base of all events. What they hold are JSON trees, in which there are no cycles to collect."""


class Started(_Event, frozen=True):
    """The agent is up and has named its conversation."""

    session_id: str | None
    model: str | None = None
    version: str | None = None
    permission_mode: str | None = None


class Text(_Event, frozen=True):
    """Words of the agent. A partial text is a piece of one that follows whole, for live display."""

    text: str
    partial: bool = False
    parent: str | None = None


class Thinking(_Event, frozen=True):
    """Reasoning that the agent shows; partial as in ``Text``."""

    text: str
    partial: bool = False
    parent: str | None = None


class ToolCall(_Event, frozen=True):
    """The agent uses a tool."""

    call_id: str
    name: str
    input: JSON
    parent: str | None = None


class ToolResult(_Event, frozen=True):
    """What a tool answered."""

    call_id: str
    text: str
    is_error: bool = False
    parent: str | None = None


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """Token counts. Cached input is not part of ``input``."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write


class Usage(_Event, frozen=True):
    """What this task has used so far: always the total of the task, never a difference.

    ``cost_usd`` is what the agent itself reports, None where it reports nothing.
    """

    tokens: Tokens
    cost_usd: float | None = None


class Notice(_Event, frozen=True):
    """Something worth knowing that is none of the above.

    Kinds in use: ``retry``, ``rate_limit`` (it is reached), ``rate_limit_near``, ``permission_denied``,
    ``permission_request``, ``background``, ``compacted``, ``model``, ``error``, ``cut`` (only a part of the
    text is kept), ``noise`` (a line that is no JSON object), ``malformed``. ``retry_at`` is in seconds since
    the epoch: when a limit ends, where the agent says so.
    """

    kind: str
    text: str
    retry_at: float | None = None


class Progress(_Event, frozen=True):
    """How far a program that runs in the task says it is: a report beside the output, not the agent's word.

    ``fraction`` is from 0 to 1, None where it does not say.
    """

    message: str = ""
    fraction: float | None = None

    @property
    def words(self) -> str:
        """``compiling (40%)``; empty where it says nothing."""
        if self.fraction is None:
            return self.message
        return f"{self.message} ({self.fraction:.0%})" if self.message else f"{self.fraction:.0%}"


class Finished(_Event, frozen=True):
    """The agent's own word that the task has ended.

    ``reason`` is one word for why it did not succeed (``api_error``, ``rate_limited``, ``max_turns`` …).
    """

    success: bool
    text: str | None = None
    error: str | None = None
    reason: str | None = None
    turns: int | None = None


class Oversize(_Event, frozen=True):
    """A line longer than the reader's bound: it stays in the file, ``head`` is its beginning."""

    size: int
    head: str


class Raw(_Event, frozen=True):
    """An event of the agent that its parser does not know, kept as it came."""

    data: dict[str, JSON]


Event: TypeAlias = (
    Started | Text | Thinking | ToolCall | ToolResult | Usage | Notice | Progress | Finished | Oversize | Raw
)


class TaskEvent(msgspec.Struct, frozen=True):
    """An event in its place: ``seq`` counts the events of a task from 1, the same for every reader."""

    worker_id: str
    task_id: str
    seq: int
    event: Event


def event_name(kind: type[Event]) -> str:
    """The ``type`` of an event in ``--jsonl``: ``tool_call`` for ``ToolCall``."""
    return str(kind.__struct_config__.tag)


def to_dict(item: TaskEvent) -> dict[str, JSON]:
    """One line of ``--jsonl``: type, seq, worker_id, task_id, then the event's own fields."""
    fields = cast("dict[str, JSON]", msgspec.to_builtins(item.event))
    head: dict[str, JSON] = {
        "type": fields.pop("type"),
        "seq": item.seq,
        "worker_id": item.worker_id,
        "task_id": item.task_id,
    }
    return head | fields
