"""The debug log: a line of JSON for everything that happens in an engine, in one file of the state directory.

Every line has ``time`` (ISO 8601 in UTC), ``worker``, ``task``, ``event``, ``plugin`` (who did it, or whose
words they are), each null where there is none, and ``engine`` (the process), then what else is to be said. It
is for people who look on: long texts are cut, which is said, and whole in the task's own files.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import PROT_READ, mmap
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.models import utc_now
from mahavishnu_core.records import engine_lives
from mahavishnu_core.text import escape_json, redact

if TYPE_CHECKING:
    from pathlib import Path

    from mahavishnu_core.models import JSON

OPENED = "engine_opened"
MOST_BYTES = 16 * 1024 * 1024
"""Of the file: an engine that finds more begins a new one, beside which the last one is kept."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_LONGEST_TEXT = 500
_MOST_ITEMS = 50
_DEEPEST = 5
_LONGEST_LINE = 8000


@attrs.frozen
class Entry:
    """One line of the log."""

    event: str
    worker: str | None = None
    task: str | None = None
    plugin: str | None = None
    facts: dict[str, JSON] = attrs.field(factory=dict)


@attrs.define(eq=False)
class DebugLog:
    """One engine's hand in the log. What cannot be written is counted, and said when there is room again.

    The file is opened anew each time, so that it may be moved away or removed at any moment.
    """

    path: Path
    _secrets: tuple[str, ...] = ()
    lost: int = 0
    """Lines that could not be written and of which the log does not tell yet."""
    _is_torn: bool = False
    """Whether the last line in the file is half of one."""

    @classmethod
    def open(cls, state_dir: Path, secrets: tuple[str, ...]) -> DebugLog:
        """The log of a state directory."""
        log = cls(path_in(state_dir), secrets)
        with suppress(OSError):  # there is none, or it cannot be moved: it goes on
            if log.path.stat().st_size > MOST_BYTES:
                log.path.replace(f"{log.path}.1")
        return log

    def write(self, *entries: Entry) -> None:
        """Add lines, all at once, secrets taken out of them."""
        lost = [Entry("lines_lost", facts={"lines": self.lost})] if self.lost else []
        lines = [_line(entry, self._secrets) for entry in (*lost, *entries)]
        kept = self._append(lines)
        self.lost = len(lines) - kept if kept else self.lost + len(entries)

    def _append(self, lines: list[str]) -> int:
        """How many lines are in the file now: not all where the disk is full, or it cannot be opened."""
        torn = "\n" * self._is_torn
        data = (torn + "".join(lines)).encode()
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
        except OSError:
            return 0
        try:
            written = os.write(descriptor, data)
        except OSError:
            return 0
        finally:
            os.close(descriptor)
        self._is_torn = written < len(data)
        return data[:written].count(b"\n") - len(torn)


def path_in(state_dir: Path) -> Path:
    """Where the debug log of a state directory lies."""
    return state_dir / "debug.jsonl"


def start_of_run(path: Path) -> int:
    """The place in the log, in bytes, where the latest engine began that still lives; its end without one."""
    with _mapped(path) as log:
        place = end = len(log)
        while (place := log.rfind(OPENED.encode(), 0, place)) >= 0:
            begin = log.rfind(b"\n", 0, place) + 1
            if _is_opening(log[begin : log.find(b"\n", place)]):
                return begin
    return end


def last_line(path: Path) -> str:
    """The last whole line of the log; empty where there is none."""
    with _mapped(path) as log:
        end = max(log.rfind(b"\n"), 0)
        return log[log.rfind(b"\n", 0, end) + 1 : end].decode("utf-8", "replace")


@contextmanager
def _mapped(path: Path) -> Iterator[mmap | bytes]:
    """What is in the log, without reading all of it; nothing where there is none, or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        yield b""
        return
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            yield b""
            return
        with mmap(descriptor, found.st_size, prot=PROT_READ) as log:
            yield log
    finally:
        os.close(descriptor)


def _is_opening(line: bytes) -> bool:
    """Whether an engine says that it was opened, and still lives."""
    try:
        record = json.loads(line)
        return record["event"] == OPENED and engine_lives({"engine": record["process"]})
    except (ValueError, KeyError, TypeError):
        return False


def _line(entry: Entry, secrets: tuple[str, ...]) -> str:
    record: dict[str, JSON] = {
        "time": utc_now(),
        "worker": entry.worker,
        "task": entry.task,
        "event": entry.event,
        "plugin": entry.plugin,
        "engine": os.getpid(),
    }
    facts = {name: _fit(value, secrets) for name, value in entry.facts.items() if value is not None}
    line = json.dumps(record | facts, ensure_ascii=False)
    if len(line) > _LONGEST_LINE:
        begin = json.dumps(facts, ensure_ascii=False)[: _LONGEST_LINE // 2]
        line = json.dumps(record | {"begins": begin, "characters": len(line)}, ensure_ascii=False)
    return escape_json(line) + "\n"


def _fit(value: JSON, secrets: tuple[str, ...], depth: int = _DEEPEST) -> JSON:
    """A value without secrets, and not longer, wider or deeper than people want to see."""
    match value:
        case str():
            text = redact(value, secrets)
            more = len(text) - _LONGEST_TEXT
            return text if more <= 0 else f"{text[:_LONGEST_TEXT]}… (+{more} characters)"
        case list() | dict() if not depth:
            return "…"
        case list():
            return [_fit(item, secrets, depth - 1) for item in value[:_MOST_ITEMS]]
        case dict():
            items = list(value.items())[:_MOST_ITEMS]
            return {str(_fit(name, secrets)): _fit(item, secrets, depth - 1) for name, item in items}
    return value
