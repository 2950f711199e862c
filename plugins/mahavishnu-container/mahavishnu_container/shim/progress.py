"""Progress that programs in a container report over a socket, written down beside the output.

Each report is kept with the size that the output had when it came: so every reader finds the same order. The
lock keeps a reader from going on in the output between the two.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select

MOST_REPORTS = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""Of one task; what comes after so many reports, or so much, is not read."""
_MOST_CALLERS = 16
_LONGEST = 1 << 16


class ProgressSocket:
    """A socket for JSON lines, and the file that they are added to."""

    def __init__(self, path: str, task_directory: str) -> None:
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(_MOST_CALLERS)
        self._output = f"{task_directory}/stdout.jsonl"
        self._file = os.open(f"{task_directory}/progress.jsonl", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        self._callers: dict[int, tuple[_socket.socket, bytes]] = {}
        self._waiting: list[bytes] = []
        self._count = 0
        self._size = 0

    @property
    def files(self) -> list[int]:
        """What to wait for before ``attend``."""
        is_full = len(self._callers) >= _MOST_CALLERS
        return [*self._callers] if is_full else [self._listener.fileno(), *self._callers]

    def has_news(self) -> bool:
        """Whether something waits to be read, or to be written down."""
        poll = select.poll()
        for descriptor in self.files:
            poll.register(descriptor, select.POLLIN)
        return bool(self._waiting or poll.poll(0))

    def attend(self, ready: set[int]) -> None:
        """Take what has come. Nothing that a program sends can raise."""
        if self._listener.fileno() in ready:
            caller = self._accept()
            self._callers[caller.fileno()] = (caller, b"")
        for descriptor in ready & self._callers.keys():
            self._listen_to(descriptor)

    def _accept(self) -> _socket.socket:
        from socket import socket

        with socket(fileno=os.dup(self._listener.fileno())) as listener:
            caller, _ = listener.accept()
        caller.setblocking(False)
        return caller

    def write(self) -> bool:
        """Write down what has come; False while a reader holds the lock, or the disk is full."""
        if not self._waiting:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            is_written = self._append()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        if is_written:
            self._waiting.clear()
        return is_written

    def _append(self) -> bool:
        """Add what waits, all of it or, on a full disk, nothing."""
        size, before = os.stat(self._output).st_size, os.fstat(self._file).st_size
        records = b"".join(b'{"at": %d, "report": %s}\n' % (size, report) for report in self._waiting)
        try:
            if os.write(self._file, records) == len(records):
                return True
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        os.ftruncate(self._file, before)
        return False

    def _listen_to(self, descriptor: int) -> None:
        caller, rest = self._callers[descriptor]
        try:
            chunk = caller.recv(_LONGEST)
        except OSError:
            chunk = b""
        *lines, rest = (rest + chunk).split(b"\n")
        if not chunk:
            lines, rest = [*lines, rest], b""
        self._take(lines)
        self.write()  # before it is hung up: who waits for that finds its report before its further output
        if not chunk or len(rest) > _LONGEST or self._is_full:
            caller.close()
            del self._callers[descriptor]
        else:
            self._callers[descriptor] = (caller, rest)

    @property
    def _is_full(self) -> bool:
        return self._count >= MOST_REPORTS or self._size >= MOST_BYTES

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.strip() and not self._is_full:
                self._count += 1
                self._size += len(line)
                self._waiting.append(_as_json(line))


def _as_json(line: bytes) -> bytes:
    """A report as JSON on one line; as a text where it is none."""
    import json

    try:
        return json.dumps(json.loads(line), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return json.dumps(line.decode("utf-8", "replace")).encode()
