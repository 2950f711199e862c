"""The debug log: a line of JSON for everything that happens in an engine, in one file of the state directory.

Every line has ``time`` (ISO 8601 in UTC), ``worker``, ``task``, ``event``, ``plugin`` (who did it, or whose
words they are), each null where there is none, and ``engine`` (the process), then what else is to be said. It
is for people who look on: long texts are cut, which is said, and whole in the task's own files.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.models import utc_now
from mahavishnu_core.text import escape_json, redact

if TYPE_CHECKING:
    from pathlib import Path

    from mahavishnu_core.models import JSON

OPENED = "engine_opened"
MOST_BYTES = 16 * 1024 * 1024
"""Of the file: an engine that finds more begins a new one, beside which the last one is kept."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
_LONGEST_TEXT = 500
_MOST_ITEMS = 50
_DEEPEST = 5
_TAIL = 1024 * 1024


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
    _lost: int = 0
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
        lost = [Entry("lines_lost", facts={"lines": self._lost})] if self._lost else []
        lines = [_line(entry, self._secrets) for entry in (*lost, *entries)]
        kept = self._append(lines)
        self._lost = len(lines) - kept if kept else self._lost + len(entries)

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
    begin, tail = _tail(path)
    place = end = begin + len(tail)
    for line in reversed(tail.splitlines(keepends=True)):
        place -= len(line)
        if _is_opening(line):
            return place
    return end


def last_line(path: Path) -> str:
    """The last whole line of the log; empty where there is none."""
    whole, _, _ = _tail(path)[1].rpartition(b"\n")
    return whole.rpartition(b"\n")[2].decode("utf-8", "replace")


def _tail(path: Path) -> tuple[int, bytes]:
    """The end of the log, and the place where that begins."""
    try:
        with path.open("rb") as file:
            return file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL)), file.read()
    except OSError:  # there is none, or something else in its place
        return 0, b""


def _is_opening(line: bytes) -> bool:
    if OPENED.encode() not in line:
        return False
    try:
        record = json.loads(line)
        return record["event"] == OPENED and _lives(int(record["engine"]))
    except (ValueError, KeyError, TypeError):
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    return escape_json(json.dumps(record | facts, ensure_ascii=False)) + "\n"


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
