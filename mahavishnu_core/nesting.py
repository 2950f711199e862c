"""How deep workers are nested: a worker that runs Mahavishnu itself is known by a variable."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from mahavishnu_core.errors import UsageError
from mahavishnu_core.keeper.family import MARK, read_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.app import App

DEPTH = "MAHAVISHNU_DEPTH"
"""Set for every command that a worker runs: 1 for a worker of yours, 2 for a worker of that worker."""


def depth_of(environ: Mapping[str, str]) -> int:
    """How many workers stand between us and the user; 0 for none.

    By the variable, our own or that of a process above us: agents hand few variables on to the MCP servers
    that they start (codex 0.171.0 none but a handful).
    """
    return _number(environ[DEPTH]) if DEPTH in environ else _depth_above_us()


def is_in_task(environ: Mapping[str, str]) -> bool:
    """Whether this process belongs to a task: what it leaves running is ended with it."""
    return MARK in environ


def depth_of_process(pid: int) -> int:
    """The same of any process, as far as it can be looked at."""
    process = read_process(pid)
    while process is not None and process.pid > 1:
        depth = _depth_in(process.pid)
        if depth is not None:
            return depth
        process = read_process(process.parent)
    return 0


def require_shallow(environ: Mapping[str, str], most: int) -> None:
    """Refuse to let workers start workers of their own, and so on without end. Raises UsageError."""
    depth = depth_of(environ)
    if depth >= most:
        raise UsageError(
            f"this is itself a worker (depth {depth}), and workers may be nested {most} deep: "
            "do the work here, or have the user raise the setting 'max_worker_depth'"
        )


def require_allowed(app: App) -> None:
    """Raises UsageError where workers are switched off, or this is a worker that may have none of its own."""
    app.require_workers()
    require_shallow(app.environ, app.loaded.settings.max_worker_depth)


@cache
def _depth_above_us() -> int:
    """Once: who started us does not change."""
    return depth_of_process(os.getppid())


def _depth_in(pid: int) -> int | None:
    """The variable as that process was started with it; None without it, and for other users' processes."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    mark = f"{DEPTH}=".encode()
    found = [entry.removeprefix(mark) for entry in entries if entry.startswith(mark)]
    return _number(found[0].decode("utf-8", "replace")) if found else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
