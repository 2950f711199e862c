"""Small files that appear whole, for their owner alone, and are read whatever a command has made of them.

A command may put a link, a FIFO or a directory where one of our files is or will be. That must cost nobody
but itself: nothing here follows a link, nothing waits, and what is no plain file is not there. Paths are
strings, which are ten times cheaper than ``Path``.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_NOT_PLAIN = {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EACCES}
"""What opening says of a link, a socket, a file in the place of a directory, and one that may not be read."""
_PIECE = 1 << 16
_LARGEST_RECORD = 1 << 30
"""Bytes: a result holds a few copies of an answer, which has 16 MiB at most."""


def open_plain(path: str) -> int:
    """A descriptor to read a file. Raises FileNotFoundError where there is none, or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in _NOT_PLAIN:
            raise
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "there is no plain file", path)


def read_record(path: str) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, as in what a power cut has left."""
    try:
        found = json.loads(_read_plain(path))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def create(path: str, content: bytes) -> None:
    """Write a file that must not be there yet. Raises FileExistsError."""
    descriptor = os.open(path, _CREATE | os.O_EXCL, 0o600)
    try:
        written = os.write(descriptor, content)
        while written < len(content):  # a disk that is nearly full takes a part, and says so the next time
            written += os.write(descriptor, content[written:])
    finally:
        os.close(descriptor)


def publish(path: str, record: Mapping[str, object], *, first_only: bool = False) -> None:
    """Have a JSON file appear whole. With ``first_only`` raises FileExistsError where there is something."""
    temporary = _beside(path)
    try:
        create(temporary, json.dumps(record).encode())
        if first_only:
            os.link(temporary, path)
        else:
            _put(temporary, path)
    finally:
        with suppress(FileNotFoundError):  # it was renamed
            os.unlink(temporary)


def touch(path: str) -> None:
    os.close(os.open(path, _CREATE, 0o600))


def is_directory(path: str) -> bool:
    """Whether there is one, and no link to one."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: str) -> bool:
    """Whether there is a plain one, and no link to one."""
    return stat.S_ISREG(_mode(path))


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def names(directory: str) -> list[str]:
    """What is in a directory, hidden entries left out; nothing where it is not there."""
    try:
        return [name for name in os.listdir(directory) if name[0] != "."]
    except FileNotFoundError:
        return []


def _read_plain(path: str) -> bytes:
    """What is in a file. Raises FileNotFoundError as ``open_plain``, ValueError where it is too much."""
    descriptor = open_plain(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > _LARGEST_RECORD:
            raise ValueError("it is larger than any record of ours")
        pieces = [os.read(descriptor, size + 1)]
        while pieces[-1]:
            pieces.append(os.read(descriptor, _PIECE))
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _put(temporary: str, path: str) -> None:
    """Rename a finished file to its place; a directory that somebody has made there is moved aside."""
    try:
        os.rename(temporary, path)
    except IsADirectoryError:
        os.rename(path, _beside(path))
        os.rename(temporary, path)


def _beside(path: str) -> str:
    """A name that nobody can foresee. What is left of it is swept: see ``mahavishnu_core.drafts``."""
    return f"{path}.{os.urandom(6).hex()}"
