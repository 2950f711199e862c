"""What a program that was killed has left half made in the state directory: known by its name and its age."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from mahavishnu_core.keeper.files import read_record
from mahavishnu_core.models import Leftover
from mahavishnu_core.records import engine_lives
from mahavishnu_core.state import CLAIM

if TYPE_CHECKING:
    from mahavishnu_core.state import StateDir

OLD = 60.0
"""Seconds after which nobody is making it any more: it takes some thousandths.

But for a worker that a living engine makes: its place may have to pull an image first.
"""
_DRAFT = re.compile(r"\.json\.[0-9a-f]+$")
_DETAIL = "half made by a program that was killed"


def sweep_drafts(state: StateDir, *, remove: bool) -> list[Leftover]:
    """What is left over, with ``remove`` taken away."""
    found = [path for path in _drafts(state.root) if _is_old(path)]
    for path in found if remove else ():
        with suppress(FileNotFoundError):
            rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return [_leftover(state.root, path) for path in found]


def _drafts(root: Path) -> Iterator[Path]:
    for worker in _entries(root / "workers"):
        within = _entries(worker)
        if not any(path.name in {"worker.json", "tasks"} for path in within):
            if not engine_lives(read_record(f"{worker}/{CLAIM}") or {}):
                yield worker  # an id that was claimed for it
            continue
        yield from (path for path in within if _DRAFT.search(path.name))
        for task in _entries(worker / "tasks"):
            if task.name.startswith("."):
                yield task
            else:
                yield from (path for path in _entries(task) if _DRAFT.search(path.name))
    for mark in _entries(root / "open"):
        if not (root / "workers" / mark.name.rpartition(".")[0] / "tasks" / mark.name).exists():
            yield mark


def _entries(directory: Path) -> list[Path]:
    try:
        return [] if directory.is_symlink() else list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD
    except FileNotFoundError:
        return False


def _leftover(root: Path, path: Path) -> Leftover:
    parts = path.relative_to(root).parts
    worker_id = parts[1] if parts[0] == "workers" else parts[1].rpartition(".")[0]
    return Leftover(f"file {'/'.join(parts)}", worker_id, _DETAIL)
