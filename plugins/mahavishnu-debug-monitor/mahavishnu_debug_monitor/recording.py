"""Numbers the lines that a window has shown, writes them down, and hands them on to be stored."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.text import printable
from mahavishnu_debug_monitor import wire

if TYPE_CHECKING:
    from mahavishnu_debug_monitor.output import Output
    from mahavishnu_debug_monitor.storing import Storing
    from mahavishnu_debug_monitor.windows.window import Window

_KNOWN = 1000
"""How many of the latest lines are known again."""


@attrs.define(eq=False)
class Recording:
    """The lines of one window."""

    _window: Window
    _output: Output
    _storing: Storing
    _next: int = 1
    """The number of the next line."""
    _latest: deque[str] = attrs.field(factory=lambda: deque(maxlen=_KNOWN))

    async def capture(self) -> int:
        """Record what the window has shown since the last time; how many lines. Raises WindowGone.

        While nothing can be written, nothing is taken from the window: it keeps its lines for a while.
        """
        self._output.write()
        if self._output.is_stuck:
            return 0
        new = await self._window.new_lines()
        if new.missing:
            self._output.write(wire.missing(self._next, new.missing))
            self._next += new.missing
        lines = [printable(line) for line in new.lines]
        self._output.write(b"".join(wire.line(number, text) for number, text in enumerate(lines, self._next)))
        self._storing.add(self._next, lines)
        self._next += len(lines)
        self._latest.extend(lines)
        return len(lines)

    def has_shown(self, line: str) -> bool:
        """Whether a line is among the latest."""
        return line in self._latest
