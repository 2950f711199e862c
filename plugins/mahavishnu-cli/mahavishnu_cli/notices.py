"""What is being waited for, told on standard error: one line that is replaced, or a line now and then."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from mahavishnu_cli.streams import replace_line, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_core import WorkerManager

EVERY = 5.0
"""Seconds from one line to the next where lines stay."""


class _Notices(Protocol):
    def tell(self, text: str) -> None: ...
    def settle(self) -> None: ...


@contextmanager
def noticing(manager: WorkerManager) -> Iterator[None]:
    """Tell meanwhile what the manager waits for."""
    from mahavishnu_cli.progress import on_terminal

    notices: _Notices = NoticeLine() if on_terminal() else NoticeLines()
    with manager.listening(notices.tell):
        try:
            yield
        finally:
            notices.settle()


@attrs.frozen
class NoticeLine:
    """One line on the terminal."""

    def tell(self, text: str) -> None:
        replace_line(text)

    def settle(self) -> None:
        replace_line("")


@attrs.define
class NoticeLines:
    """Lines that stay: one every few seconds at most, and the last one."""

    _said: float = -math.inf
    _held: str | None = None

    def tell(self, text: str) -> None:
        self._held = text
        self.look()

    def look(self) -> None:
        """Say what was held back, as soon as it is time."""
        if trio.current_time() - self._said >= EVERY:
            self.settle()

    def settle(self) -> None:
        """Say what was held back."""
        if self._held is not None:
            say(self._held)
            self._held, self._said = None, trio.current_time()
