"""What has happened in tasks, in words and by number: kept for the newest, read again for the rest."""

from __future__ import annotations

import math
import re
from collections import OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import attrs
import msgspec
import trio

from mahavishnu_core.errors import PluginError, UsageError
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
    Usage,
    event_name,
)
from mahavishnu_core.output import events_so_far
from mahavishnu_core.text import one_line, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mahavishnu_core import Task
    from mahavishnu_core.app import App

_KEPT = 200
"""Events of a task in memory: as many as a client that keeps asking can be behind."""
_TASKS = 256
_ENDS = 10_000
_WIDTH = 300
"""Characters of an event: enough to see what it is about. The whole is in the transcript."""
_PLACE = re.compile(r"([0-9A-Za-z_][0-9A-Za-z_.-]{0,99}):([0-9]{1,15})")

Cursor: TypeAlias = "Mapping[str, int]"
"""By task, the number of the last event that was seen. Numbers are the same for every reader and server."""


@attrs.frozen
class Happening:
    """An event of a task, in words."""

    seq: int
    type: str
    text: str


@attrs.define
class _Kept:
    """The newest events of a task; those before ``whole_from`` are not here."""

    whole_from: int
    next: int
    """The number that comes next. A task that is read once more, from its start, brings none twice."""
    happenings: deque[Happening] = attrs.field(factory=deque)

    def add(self, happening: Happening) -> None:
        self.happenings.append(happening)
        if len(self.happenings) > _KEPT:
            self.whole_from = self.happenings.popleft().seq + 1


@attrs.define(eq=False)
class EventLog:
    """The events of tasks that are followed here, and of any other from its files."""

    app: App
    _tasks: OrderedDict[str, _Kept] = attrs.field(factory=OrderedDict)
    _ends: OrderedDict[str, int] = attrs.field(factory=OrderedDict)
    """By task that has ended, the number of its last event: it is not read again for what is not there."""

    def add(self, item: TaskEvent) -> None:
        """Take in an event, in the order of its task. Pieces of a text that comes whole are left out."""
        kept = self._tasks.get(item.task_id)
        if kept is None:
            kept = self._tasks[item.task_id] = _Kept(item.seq, item.seq)
            if len(self._tasks) > _TASKS:
                self._tasks.popitem(last=False)
        if item.seq < kept.next:
            return
        kept.next = item.seq + 1
        if not is_partial(item.event):
            kept.add(_in_words(item.seq, item.event, self.app.secrets))

    async def since(self, task: Task, after: int, limit: int) -> list[Happening]:
        """At most ``limit`` events of a task after that number, oldest first."""
        await trio.lowlevel.checkpoint()
        if (known := self._in_memory(task, after)) is not None:
            return known[:limit]
        found: list[Happening] = []
        for happenings in self._read(task, after):
            await trio.lowlevel.checkpoint()
            found += happenings
            if len(found) >= limit:
                break
        return found[:limit]

    async def newest(self, task: Task, after: int, most: int) -> list[Happening]:
        """The last ``most`` events of a task after that number, oldest first."""
        await trio.lowlevel.checkpoint()
        if (known := self._in_memory(task, after, enough=most)) is not None:
            return known[-most:]
        found: deque[Happening] = deque(maxlen=most)
        for happenings in self._read(task, after):
            await trio.lowlevel.checkpoint()
            found += happenings
        return list(found)

    async def last(self, task: Task) -> int:
        """The number of a task's newest event, 0 before the first."""
        await trio.lowlevel.checkpoint()
        kept = self._tasks.get(task.task_id)
        if kept is not None and kept.happenings and self._has_all(kept, task):
            return kept.happenings[-1].seq
        if task.task_id in self._ends:
            return self._ends[task.task_id]
        last = 0
        for happenings in self._read(task, 0):
            await trio.lowlevel.checkpoint()
            last = happenings[-1].seq if happenings else last
        return last

    def _in_memory(self, task: Task, after: int, enough: float = math.inf) -> list[Happening] | None:
        """All events after that number, or the last ``enough`` at least; None where they have to be read."""
        if after >= self._ends.get(task.task_id, after + 1):
            return []
        kept = self._tasks.get(task.task_id)
        if kept is None or (kept.whole_from > after + 1 and len(kept.happenings) < enough):
            return None
        return [each for each in kept.happenings if each.seq > after] if self._has_all(kept, task) else None

    def _has_all(self, kept: _Kept, task: Task) -> bool:
        """Whether what is in memory goes to the end. Another engine may have read a task to it before us."""
        if task.task_id not in self._ends:
            result = self.app.state.result(task)
            if result is None:
                return True
            evidence = result.metadata.get("evidence")
            seen = evidence.get("events") if isinstance(evidence, dict) else 0
            if isinstance(seen, int) and kept.next <= seen:
                return False
            self._note_end(task.task_id, kept.happenings[-1].seq if kept.happenings else 0)
        return kept.next > self._ends[task.task_id]

    def _note_end(self, task_id: str, seq: int) -> None:
        self._ends[task_id] = seq
        if len(self._ends) > _ENDS:
            self._ends.popitem(last=False)

    def _read(self, task: Task, after: int) -> Iterator[list[Happening]]:
        """The events after that number in a task's files, a list for each piece that is read.

        None where nothing installed here reads them. Where the task has ended, its last one is noted.
        """
        has_ended, seq, last = self.app.state.result(task) is not None, 0, 0
        with suppress(PluginError):  # its status is told all the same
            for events in events_so_far(self.app, task):
                found = []
                for event in events:
                    seq += 1
                    if not is_partial(event):
                        last = seq
                        if seq > after:
                            found.append(_in_words(seq, event, self.app.secrets))
                yield found
        if has_ended:
            self._note_end(task.task_id, last)


def _in_words(seq: int, event: Event, secrets: tuple[str, ...]) -> Happening:
    return Happening(seq, event_name(type(event)), one_line(redact(_words(event), secrets), _WIDTH))


def is_partial(event: Event) -> bool:
    return isinstance(event, Text | Thinking) and event.partial


def write_cursor(places: Cursor) -> str:
    return " ".join(f"{task_id}:{seq}" for task_id, seq in places.items())


def read_cursor(text: str) -> dict[str, int]:
    """Raises UsageError for what no server has written."""
    places: dict[str, int] = {}
    for word in text.split():
        found = _PLACE.fullmatch(word)
        if found is None:
            raise UsageError("that is no cursor: give the one of the last answer as it is, or leave it out")
        places[found[1]] = int(found[2])
    return places


def _words(event: Event) -> str:
    match event:
        case Text() | Thinking():
            return event.text
        case ToolCall():
            return f"{event.name} {_json(event.input)}"
        case ToolResult():
            return ("failed: " if event.is_error else "") + event.text
        case Notice():
            return f"{event.kind}: {event.text}"
        case Progress():
            return event.words or "it goes on"
        case Started():
            return f"model {event.model}" if event.model else "started"
        case Usage():
            return f"{event.tokens.total} tokens"
        case Finished():
            return event.text or event.error or ("success" if event.success else "failure")
        case Oversize():
            return f"a line of {event.size} bytes"
        case Raw():
            return _json(event.data)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
