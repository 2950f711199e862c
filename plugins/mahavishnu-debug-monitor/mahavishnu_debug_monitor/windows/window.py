"""What a window is to the watcher: it shows a command's output, and tells the lines that it has shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from mahavishnu_core.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence


class WindowRefused(MissingError):
    """A window cannot be opened; the text says why, and fits behind ``iTerm2: ``."""


class WindowGone(Exception):
    """The window is not there any more, and it was not us who closed it; the text says what is known."""


@attrs.frozen
class NewLines:
    """What a window has shown since it was last asked."""

    lines: Sequence[str]
    """Whole lines in order, as they were printed: those that a narrow window wraps are put together again."""
    missing: int = 0
    """How many lines before them were shown and could not be read any more; at least so many."""


class Window(Protocol):
    """An open window. It is opened by a context manager, and closed with it."""

    @property
    def access(self) -> str:
        """How a person gets to see it: ``in tmux, attach with '…'``."""
        ...

    async def new_lines(self) -> NewLines:
        """The whole lines that it has shown since the last call, each once. Raises WindowGone.

        A line that may still grow is told when it is whole. It may be cancelled: no line is lost then.
        """
        ...
