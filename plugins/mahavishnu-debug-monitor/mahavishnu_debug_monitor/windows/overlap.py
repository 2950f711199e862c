"""Which lines of a terminal are new: by what was told last, and by where that should be now."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category, east_asian_width

import attrs

from mahavishnu_debug_monitor.windows.window import NewLines

if TYPE_CHECKING:
    from collections.abc import Sequence

_REMEMBERED = 100
"""Lines told last that are looked for in what is shown."""
_EVIDENCE = 10
"""Lines told last that have to be there before it counts that they are where they should be."""


@attrs.frozen
class Capture:
    """What a terminal had at one moment, from some row on."""

    lines: Sequence[str]
    """Wrapped ones put together; the last is the one in which the cursor stands."""
    above: int
    """Rows above the one of the cursor, the whole history included."""
    width: int
    is_whole: bool
    """Whether it begins with the oldest row that the terminal has."""


@attrs.define
class Follower:
    """Follows the lines of a terminal from capture to capture."""

    _told: Sequence[str]
    """The last ones, and at first the line that the terminal was made to begin with."""
    _next_row: int
    """In which row the line after them began, counted from the oldest row of that time."""
    _width: int
    _dropped_at_once: int
    """How many rows the terminal drops when its history is full."""

    def take(self, capture: Capture) -> NewLines | None:
        """The whole lines that were not told yet; None where it takes the whole history to say which."""
        shown = [line.rstrip() for line in capture.lines[:-1]]
        row = capture.above + 1 - _rows(capture.lines[-1], capture.width)
        at = self._expected(capture, row)
        if not capture.is_whole and (at is None or at < min(len(self._told), _EVIDENCE)):
            return None
        if at is None or not _joins(self._told, shown, at):
            if not capture.is_whole:
                return None
            at = _latest_join(self._told, shown)
        self._next_row, self._width = row, capture.width
        return self._go_on(shown, at)

    def _expected(self, capture: Capture, row: int) -> int | None:
        """Where the new lines begin by the count of the rows; None where that does not come out even."""
        if capture.width != self._width:  # the lines were wrapped anew
            return None
        grown = row - self._next_row
        if grown < 0:
            grown %= self._dropped_at_once
        at = len(capture.lines) - 1
        while grown > 0 and at > 0:
            at -= 1
            grown -= _rows(capture.lines[at], capture.width)
        return None if grown else at

    def _go_on(self, shown: Sequence[str], at: int | None) -> NewLines:
        if at is not None:
            new = shown[at:]
            self._told = [*self._told, *new][-_REMEMBERED:]
            return NewLines(new)
        if not shown:  # cleared, and nothing printed since
            return NewLines([])
        self._told = shown[-_REMEMBERED:]
        return NewLines(shown[1:], missing=1)  # the first may be the rest of a line that was dropped


def _latest_join(told: Sequence[str], shown: Sequence[str]) -> int | None:
    """The last place in ``shown`` up to which it goes as ``told`` ends, which is the longest match too."""
    places = (at for at in range(len(shown), 0, -1) if shown[at - 1] == told[-1])
    return next((at for at in places if _joins(told, shown, at)), None)


def _joins(told: Sequence[str], shown: Sequence[str], at: int) -> bool:
    """Whether the lines before that place are those told last, as far back as both go."""
    count = min(at, len(told))
    if not count:
        return False
    first, *rest = told[-count:]
    if shown[at - count + 1 : at] != rest:
        return False
    begin = shown[at - count]
    # a capture may begin in the middle of a wrapped line, which alone would be no evidence
    return begin == first or (bool(rest) and first.endswith(begin))


def _rows(line: str, width: int) -> int:
    """How many rows a line takes; near enough where there are characters that terminals do not agree on."""
    cells = len(line) if line.isascii() else sum(map(_cells, line))
    return max(1, -(-cells // width))


def _cells(character: str) -> int:
    if category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if east_asian_width(character) in {"W", "F"} else 1
