"""What is seen of an output without reading it: how much it is, whether it grows, whether it is open."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OUTPUT_LIMIT = 4 * 1024**3
"""Bytes of output, or of error output, at which a task is ended. What comes after them is not read."""
CLOSED_GRACE = 10.0
"""Seconds that a command may go on after it has closed the output into which its result belongs."""
STOPPED = 2.0
"""Seconds between two looks after which it is us who were stopped, and the command maybe with us."""
_LOOKS = 8
"""Looks in the time that is waited for."""


class Output:
    """Watches one command's output. Times are of the monotonic clock."""

    def __init__(self, directory: str, idle: float | None, since: float, *, needs_result: bool) -> None:
        self._stdout, self._stderr = f"{directory}/stdout.jsonl", f"{directory}/stderr.log"
        self._reports = f"{directory}/progress.jsonl"
        self._idle = math.inf if idle is None else idle
        self._needs_result = needs_result
        self._period = min(self._idle, CLOSED_GRACE) / _LOOKS
        self._size = 0
        self._grew_at = since
        self._closed_at: float | None = None
        self._file = _identity(self._stdout)
        self.look_at = since + self._period
        """When to look next."""

    def look(self, now: float, leader: int, family: Callable[[], Iterable[int]]) -> str | None:
        """The limit that is reached, if one is: ``output_limit``, ``idle`` by bytes, ``closed``.

        The command's own process is looked at first; ``family`` is asked where that has no output any more.
        """
        is_late = now > self.look_at + STOPPED
        self.look_at = now + self._period
        if max(_size(self._stdout), _size(self._stderr)) > OUTPUT_LIMIT:
            return "output_limit"
        if is_late:
            self._grew_at = now
        if self.quiet_for(now) >= self._idle:
            return "idle"
        if not self._needs_result:
            return None
        if is_late or self._is_open(leader, family):
            self._closed_at = None
        elif self._closed_at is None:
            self._closed_at = now
        return "closed" if self._closed_at is not None and now - self._closed_at >= CLOSED_GRACE else None

    def quiet_for(self, now: float) -> float:
        """Seconds in which nothing was put out or reported, as far as we have seen: it may be more."""
        size = _size(self._stdout) + _size(self._reports)
        if size != self._size:
            self._size, self._grew_at = size, now
        return now - self._grew_at

    def _is_open(self, leader: int, family: Callable[[], Iterable[int]]) -> bool:
        """Whether one of them can write into the output. Where that cannot be seen, one can."""
        try:
            return self._may_write(leader) or any(map(self._has_left_or_may_write, family()))
        except FileNotFoundError:  # it was not waited for: it is there, and hidden from us
            return True

    def _has_left_or_may_write(self, pid: int) -> bool:
        try:
            return self._may_write(pid)
        except FileNotFoundError:
            return False

    def _may_write(self, pid: int) -> bool:
        """Raises FileNotFoundError where no such process is to be seen."""
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            return True
        # a process whose main thread has ended shows none
        return not names or any(self._is_output(f"/proc/{pid}/fd/{name}") for name in names)

    def _is_output(self, descriptor: str) -> bool:
        try:
            found = os.stat(descriptor)
            is_for_writing = bool(os.lstat(descriptor).st_mode & 0o200)
        except FileNotFoundError:  # it was closed between two looks
            return False
        except OSError:  # of another group, say
            return True
        return is_for_writing and (found.st_dev, found.st_ino) == self._file


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
