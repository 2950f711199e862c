"""The journal of a batch: which task carries out which item, so that it can go on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import attrs

from mahavishnu_cli.batch_file import Item, Source, digest
from mahavishnu_core.errors import StateDirError, UnknownTask, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_core import Task
    from mahavishnu_core.state import StateDir


@attrs.frozen
class _Entry:
    task_id: str
    prompt: str
    """Hash of the prompt: the task of that id is ours only if it has that prompt."""


@attrs.define
class Journal:
    """Append-only: the latest line of an item counts."""

    _file: IO[str]
    _entries: dict[str, _Entry]

    def note(self, item: Item, task_id: str) -> None:
        """Write down which task will carry out an item, before it exists."""
        record = {"key": item.key, "task_id": task_id, "prompt": digest(item.prompt)}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def task_of(self, item: Item, state: StateDir) -> Task | None:
        """The task that carried an item out, or does so now; None where there never was one."""
        entry = self._entries.get(item.key)
        if entry is None:
            return None
        try:
            task = state.task(entry.task_id)
        except UnknownTask:  # we ended before it began
            return None
        return task if digest(task.prompt) == entry.prompt else None


@contextmanager
def open_journal(state: StateDir, batch: Source) -> Iterator[Journal]:
    """The journal of a batch, for one program at a time. Raises UsageError, StateDirError."""
    state.prepare()
    path = state.root / "batches" / f"{digest(batch.identity)}.jsonl"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateDirError(f"cannot write {str(path)!r}: {error.strerror}") from None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"the batch {batch.name!r} is being carried out already") from None
        text = file.read()
        if text and not text.endswith("\n"):  # the last writer was killed in the middle of a line
            file.write("\n")
        yield Journal(file, _read(text))


def _read(text: str) -> dict[str, _Entry]:
    entries = {}
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        entries[record["key"]] = _Entry(record["task_id"], record["prompt"])
    return entries
