"""A task's output, read piece by piece from its files, with reports of programs in their places."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.keeper import output as kept_output
from mahavishnu_core.keeper.files import open_plain
from mahavishnu_core.stream.reports import Reports

if TYPE_CHECKING:
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import Task

_CHUNK = 1 << 16
"""Bytes at a time: with four times as many, what is read no longer fits the processor's cache."""

_STDERR_TAIL = 1 << 16

_REPORTS_LIMIT = 64 * 1024**2
"""Bytes of reports that are read: who writes more writes them past the place that bounds them."""


@attrs.frozen
class Piece:
    """What comes next of a task: reports, then output. One of them may be empty, or both."""

    reports: list[Event]
    output: bytes


@attrs.define(eq=False)
class TaskFiles:
    """``stdout.jsonl`` from its start, and ``progress.jsonl`` where there is one.

    Who adds a report holds a lock from before the output is measured until the report is written. So with a
    lock of our own all reports are there that belong before the end of the output. Without one, no report is
    still to come that belongs before the last one.
    """

    _output: int
    _progress: int | None
    size: int = 0
    """Bytes of output read so far."""
    _reports: Reports = attrs.field(factory=Reports)
    _reported: int = 0
    """Bytes of reports read so far."""

    def read(self, up_to: int | None = None, *, is_over: bool = False) -> Piece | None:
        """What has come since, at most a chunk; None when there is nothing new.

        ``up_to`` is a place in the output at which a piece is to end; ``is_over`` says that nobody writes any
        more, whatever is locked.
        """
        if self.size > kept_output.OUTPUT_LIMIT:
            return None
        most = _CHUNK if up_to is None or up_to <= self.size else min(_CHUNK, up_to - self.size)
        if self._progress is not None:
            return self._read_both(self._progress, most, is_over)
        output = self._next(most)
        return Piece([], output) if output else None

    def close(self) -> None:
        os.close(self._output)
        if self._progress is not None:
            os.close(self._progress)

    def _read_both(self, progress: int, most: int, is_over: bool) -> Piece | None:
        is_new = self.size >= self._reports.known_to and self._look(progress, is_over)
        reports = self._reports.due(self.size)
        most = min(most, self._reports.room(self.size))
        output = self._next(most)
        if most and not output:  # somebody has cut the file
            self._reports.cut(self.size)
            is_new = True
        return Piece(reports, output) if is_new or reports or output else None

    def _look(self, progress: int, is_over: bool) -> bool:
        """Take in what was reported since, at most a chunk; whether that was anything."""
        is_settled = _lock(progress) or is_over
        try:
            chunk = os.read(progress, _CHUNK) if self._reported < _REPORTS_LIMIT else b""
            is_all = is_settled and len(chunk) < _CHUNK
            size = os.fstat(self._output).st_size if is_all else 0
        finally:
            fcntl.flock(progress, fcntl.LOCK_UN)
        self._reported += len(chunk)
        self._reports.feed(chunk)
        self._reports.known_to = max(self._reports.known_to, size)
        return bool(chunk)

    def _next(self, most: int) -> bytes:
        output = os.read(self._output, most)
        self.size += len(output)
        return output


def open_files(task: Task) -> TaskFiles:
    """The files of a task whose command was started. Raises FileNotFoundError before that."""
    output = open_file(task, "stdout.jsonl")
    try:
        # it is there before the output is, or never
        return TaskFiles(output, _open_if_there(task, "progress.jsonl"))
    except OSError:
        os.close(output)
        raise


def stderr_size(task: Task) -> int:
    try:
        return os.lstat(f"{task.directory}/stderr.log").st_size
    except FileNotFoundError:
        return 0


def stderr_tail(task: Task) -> str:
    """The end of what a command has said on its error output, 64 KiB at most."""
    try:
        descriptor = open_file(task, "stderr.log")
    except FileNotFoundError:
        return ""
    try:
        begin = max(0, os.fstat(descriptor).st_size - _STDERR_TAIL)
        return os.pread(descriptor, _STDERR_TAIL, begin).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def open_file(task: Task, name: str) -> int:
    """A descriptor to read a file of a task. Raises FileNotFoundError where there is no plain one."""
    return open_plain(f"{task.directory}/{name}")


def _open_if_there(task: Task, name: str) -> int | None:
    try:
        return open_file(task, name)
    except FileNotFoundError:
        return None


def _lock(file: int) -> bool:
    """Keep others from writing; False while one of them does."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
