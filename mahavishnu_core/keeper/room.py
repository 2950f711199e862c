"""Room on the disk that is held for what a command says last: an answer finds it where the disk is full."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

AHEAD = 1024**2
"""Bytes held beyond the end of an output: far more than an agent puts out between two looks at it."""
LEAST_FREE = 16 * AHEAD
"""Bytes: on a disk on which fewer are free nothing is held, which would only take them from all others."""
_KEEP_SIZE = 1
"""Of fallocate(2): the file's size stays as it is."""
_FILE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Room:
    """What is held for one output file. What cannot be had is done without."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._end = 0
        """As far as there is room."""

    def keep_ahead(self) -> None:
        """Hold more where less than half of it is left."""
        try:
            file = os.open(self._path, _FILE)
        except OSError:
            return
        size, disk = os.fstat(file).st_size, os.fstatvfs(file)
        if self._end - size < AHEAD // 2 and disk.f_bavail * disk.f_frsize >= LEAST_FREE:
            self._end = size + AHEAD
            _fallocate(file, _KEEP_SIZE, size, AHEAD)
        os.close(file)

    def give_back(self) -> None:
        """What was not needed, once nobody can add to the output any more."""
        if not self._end:
            return
        try:
            file = os.open(self._path, _FILE)
        except OSError:
            return
        with suppress(OSError):  # it is no file any more
            os.ftruncate(file, os.fstat(file).st_size)
        os.close(file)


_LIBC = ctypes.CDLL(None)
_fallocate = getattr(_LIBC, "fallocate64", None) or _LIBC.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
