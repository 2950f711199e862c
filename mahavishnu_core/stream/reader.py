"""Bytes of an agent in, typed events out: the same for any chunking, and nothing in a line can raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mahavishnu_core.events import Event, Notice, Oversize
from mahavishnu_core.stream.decode import decode, decode_objects, text_of
from mahavishnu_core.stream.lines import MAX_LINE, LineSplitter, LongLine
from mahavishnu_core.stream.parsers import malformed
from mahavishnu_core.stream.writable import writable

if TYPE_CHECKING:
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.models import JSON, Exit, Tracking

_AT_ONCE = 48
"""Lines that are objects at one time: those of a whole chunk would not stay in the processor's cache."""


class StreamReader:
    """Reads the output of one task with the parser of its agent. ``max_line`` is in bytes.

    A line that the parser raises on becomes a notice, ``malformed``, and the rest is read.
    """

    def __init__(self, parser: Parser, tracking: Tracking, max_line: int = MAX_LINE) -> None:
        self.truncated = False
        """Whether the output ended within a line that should have been an object."""
        self.noise = 0
        """How many whole lines were no JSON objects where objects were due."""
        self._parser = parser
        self._is_plain = tracking != "stream-json"
        self._splitter = LineSplitter(max_line)

    def feed(self, chunk: bytes) -> list[Event]:
        """The events of the lines that end in this chunk."""
        return self._read(self._splitter.feed(chunk))

    def end(self, exit: Exit, stderr: str) -> list[Event]:
        """The events of what came after the last newline, and those that the parser has left."""
        rest = self._splitter.finish()
        events = [] if rest is None else self._read_unfinished(rest)
        try:
            events += writable(list(self._parser.end(exit, stderr)))
        except Exception as error:  # noqa: BLE001  # foreign code
            events.extend(malformed(error, ""))
        return events

    def _read_unfinished(self, line: bytes | LongLine) -> list[Event]:
        if self._is_plain or isinstance(line, LongLine) or not isinstance(text := decode(line), str):
            return self._read([line])
        self.truncated = bool(text.strip())
        return [Notice("malformed", text)] if self.truncated else []

    def _read(self, lines: list[bytes | LongLine]) -> list[Event]:
        events: list[Event] = []
        if LongLine not in set(map(type, lines)):
            for start in range(0, len(lines), _AT_ONCE):
                events += self._ask(self._items(cast("list[bytes]", lines[start : start + _AT_ONCE])))
            return events
        for line in lines:
            if isinstance(line, LongLine):
                events.append(Oversize(line.size, text_of(line.head)))
            else:
                events += self._ask(self._items([line]))
        return events

    def _items(self, lines: list[bytes]) -> Sequence[dict[str, JSON] | str]:
        if self._is_plain:
            return [text_of(line) for line in lines]
        if (objects := decode_objects(lines)) is not None:
            return objects
        items = [item for item in map(decode, lines) if not isinstance(item, str) or item.strip()]
        self.noise += sum(isinstance(item, str) for item in items)
        return items

    def _ask(self, items: Sequence[dict[str, JSON] | str]) -> list[Event]:
        if not items:
            return []
        try:
            events = list(self._parser.feed(items))
        except Exception as error:  # noqa: BLE001  # foreign code
            if len(items) > 1:
                return [event for item in items for event in self._ask([item])]
            events = malformed(error, items[0])
        return writable(events)
