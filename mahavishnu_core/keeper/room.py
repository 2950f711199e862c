"""Room on the disk that is held for what a command says last: an answer finds it where the disk is full."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from io import FileIO

AHEAD = 1024**2
"""Bytes held beyond the end of an output: far more than an agent puts out between two looks at it."""
LEAST_FREE = 16 * AHEAD
"""Bytes: on a disk on which fewer are free nothing is held, which would only take them from all others."""
_KEEP_SIZE = 1
"""Of fallocate(2): the file's size stays as it is."""


class Room:
    """What is held for the output of one command. What cannot be had is done without."""

    def __init__(self, directory: str, *, may_be_held: bool = False) -> None:
        self._directory = directory
        self._may_be_held = may_be_held
        """Whether some is: by us, or by an earlier keeper."""
        self._end = 0
        """As far as we know of room."""

    def keep_ahead(self) -> None:
        """Hold more where less than half of it is left."""
        with suppress(OSError), _open(self._directory) as file:
            size, disk = os.fstat(file.fileno()).st_size, os.fstatvfs(file.fileno())
            if self._end - size < AHEAD // 2 and disk.f_bavail * disk.f_frsize >= LEAST_FREE:
                self._end, self._may_be_held = size + AHEAD, True
                _fallocate(file.fileno(), _KEEP_SIZE, size, AHEAD)

    def give_back(self) -> None:
        """What was not needed, once nobody can add to the output any more."""
        if self._may_be_held:
            give_back(self._directory)


def give_back(directory: str) -> None:
    """The same for a command that an earlier keeper has left there."""
    with suppress(OSError), _open(directory) as file:
        file.truncate(os.fstat(file.fileno()).st_size)


def _open(directory: str) -> FileIO:
    """A task's output; what was put in its place is not followed and not waited for. Raises OSError."""
    return FileIO(f"{directory}/stdout.jsonl", "w", opener=_opener)


def _opener(path: str, _: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


_LIBC = ctypes.CDLL(None)
_fallocate = getattr(_LIBC, "fallocate64", None) or _LIBC.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
