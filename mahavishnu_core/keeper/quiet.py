"""What is seen of a command's output without reading it: whether it grows, and whether it is still open."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CLOSED_GRACE = 10.0
"""Seconds that a command may go on after it has closed the output into which its result belongs."""
STOPPED = 2.0
"""Seconds between two looks after which it is us who were stopped, and the command maybe with us."""
_LOOKS = 8
"""Looks in the time that is waited for."""
_GROWING = ("stdout.jsonl", "progress.jsonl")


class Quiet:
    """Watches one command's output. Times are of the monotonic clock."""

    def __init__(self, directory: str, idle: float | None, since: float, *, needs_result: bool) -> None:
        self._directory = directory
        self._idle = math.inf if idle is None else idle
        self._needs_result = needs_result
        self._period = min(self._idle, CLOSED_GRACE if needs_result else math.inf) / _LOOKS
        self._size = 0
        self._grew_at = since
        self._closed_at: float | None = None
        self._file = _identity(f"{directory}/stdout.jsonl")
        self.look_at = since + self._period
        """When to look next."""

    def look(self, now: float, leader: int, family: Callable[[], Iterable[int]]) -> str | None:
        """The limit that is reached, if one is: ``idle`` by bytes, so never too early, or ``closed``.

        The command's own process is looked at first; ``family`` is asked where that has no output any more.
        """
        is_late = now > self.look_at + STOPPED
        self.look_at = now + self._period
        size = sum(_size(f"{self._directory}/{name}") for name in _GROWING)
        if is_late or size != self._size:
            self._size, self._grew_at = size, now
        if now - self._grew_at >= self._idle:
            return "idle"
        if not self._needs_result:
            return None
        if is_late or self._is_open([leader]) or self._is_open(family()):
            self._closed_at = None
        elif self._closed_at is None:
            self._closed_at = now
        return "closed" if self._closed_at is not None and now - self._closed_at >= CLOSED_GRACE else None

    def _is_open(self, pids: Iterable[int]) -> bool:
        """Whether one of them can write into the output. Where that cannot be seen, one can."""
        return any(self._may_write(pid) for pid in pids)

    def _may_write(self, pid: int) -> bool:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except FileNotFoundError:
            return False
        except OSError:
            return True
        # a process whose main thread has ended shows none
        return not names or any(self._is_output(f"/proc/{pid}/fd/{name}") for name in names)

    def _is_output(self, descriptor: str) -> bool:
        try:
            return bool(os.lstat(descriptor).st_mode & 0o200) and _identity(descriptor) == self._file
        except OSError:
            return False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
