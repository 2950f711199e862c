"""Progress that programs report while a task runs: made into events, and put in its place in the output.

A report is written down with the size that the output had when it came, the next one with no smaller size. So
its place is after all lines that had ended by then, for every reader, live or afterwards.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from mahavishnu_core.events import Event, Notice, Progress
from mahavishnu_core.stream.decode import decode, text_of
from mahavishnu_core.stream.lines import LineSplitter, LongLine

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_HEAD = re.compile(rb'\{"at": ?([0-9]{1,40}), ?"report": ?')
"""How a line begins. It is not read as JSON as a whole: what a program made of its report is not to hide
where that belongs."""
_LONGEST = 1 << 20
_MESSAGE = 1000
_SHOWN = 200


class Reports:
    """The reports of one task that were read and whose turn has not come. Places are in bytes of output."""

    def __init__(self) -> None:
        self.known_to = 0
        """The place before which no report can come any more."""
        self._lines = LineSplitter(_LONGEST)
        self._waiting: deque[tuple[int, Event]] = deque()

    def feed(self, chunk: bytes) -> None:
        """Take in more of ``progress.jsonl``; what comes after its last newline waits for the rest."""
        for line in self._lines.feed(chunk):
            at, event = read_report(line)
            self.known_to = max(self.known_to, at)
            self._waiting.append((self.known_to, event))

    def due(self, place: int) -> list[Event]:
        """The reports that belong there, each once."""
        events = []
        while self._waiting and self._waiting[0][0] <= place:
            events.append(self._waiting.popleft()[1])
        return events

    def room(self, place: int) -> int:
        """How much output comes before anything else is known to come, or may."""
        return (self._waiting[0][0] if self._waiting else self.known_to) - place

    def cut(self, place: int) -> None:
        """The output has turned out to end there: all reports that wait are due."""
        self.known_to = place
        self._waiting = deque((place, event) for _, event in self._waiting)


def read_report(line: bytes | LongLine) -> tuple[int, Event]:
    """A line's place, 0 where it has none, and its event. Nothing in a report can raise."""
    data = line.head if isinstance(line, LongLine) else line
    head = _HEAD.match(data)
    if head is None:
        return 0, _malformed(data)
    report = data[head.end() :].removesuffix(b"}")
    return int(head[1]), _malformed(report) if isinstance(line, LongLine) else _event(report)


def _event(report: bytes) -> Event:
    data = decode(report)
    if isinstance(data, str) or data.get("type") != "progress":
        return _malformed(report)
    message = data.get("message") or ""
    if not isinstance(message, str):
        return _malformed(report)
    return Progress(message[:_MESSAGE], _fraction(data.get("fraction")))


def _fraction(value: JSON) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _malformed(report: bytes) -> Notice:
    text = text_of(report[: 4 * _SHOWN])[:_SHOWN]
    return Notice("malformed", f"this is no report of progress: {text}")
