"""The place ``debug-monitor``: a window for each worker, and the watcher, a process that stands for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from mahavishnu_core import Command, debug_log
from mahavishnu_core.errors import MissingError, UsageError
from mahavishnu_core.places import Shim, find_shim, launch_shim, require_workspace
from mahavishnu_core.settings import read_options
from mahavishnu_debug_monitor.following import follow
from mahavishnu_debug_monitor.options import MonitorOptions
from mahavishnu_debug_monitor.windows.choice import kinds_of
from mahavishnu_debug_monitor.windows.tmux import end_left_tmux

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core import Engine, Run, Task, Worker
    from mahavishnu_core.models import JSON

_MISSING = {
    "iterm2": "iTerm2 does not run, or its Python API is off: start it, and enable that in its settings",
    "tmux": "tmux is not installed, or not in PATH: install it",
}
_AGENT = "debug-monitor"
"""The only one that this place is for, and the only place for it."""


async def make_ready(worker: Worker) -> Mapping[str, JSON]:
    """Nothing is opened yet. Raises MissingError where the window that is asked for is not to be had."""
    await require_workspace(worker)
    if worker.type.agent != _AGENT:
        raise UsageError(
            f"the place {_AGENT!r} has no room for the agent {worker.type.agent!r}: name another"
        )
    options = read_options(worker.type, MonitorOptions)
    if not kinds_of(options, os.environ):
        raise MissingError(f"{_MISSING[options.window]}, or set 'window: auto' in the options of its type")
    return _sockets(os.environ)


async def give_back(worker: Worker) -> None:
    """The window has gone with the watcher; of one that was killed a socket may be left."""
    await end_left_tmux(
        worker.worker_id, {**os.environ, **{name: str(at) for name, at in worker.facts.items()}}
    )
    await trio.lowlevel.checkpoint()


def command(worker: Worker, task: Task) -> Command:
    """What the window runs; the watcher finds out from where on. Raises UsageError for another place."""
    if worker.type.place != _AGENT:
        raise UsageError(
            f"the agent {_AGENT!r} works in the place of that name, not in {worker.type.place!r}"
        )
    return Command(follow(debug_log.path_in(task.directory.parents[3])))


async def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, *, detached: bool
) -> Run:
    """Have the keeper start the watcher, which opens the window, or find it again."""
    if command is None:
        return await find_shim(engine, task)
    options, app = read_options(worker.type, MonitorOptions), engine.app
    # -P: the working directory may be anybody's, and is no place to import from
    words = (sys.executable, "-P", "-m", "mahavishnu_debug_monitor.watcher", str(task.directory))
    config_dir = "" if app.config_dir is None else str(app.config_dir.absolute())
    shim = Shim(
        argv=(*words, worker.worker_id, config_dir, options.window, options.profile),
        env={**app.environ, **_sockets(app.environ), "MAHAVISHNU_STATE_DIR": str(engine.state_dir)},
        stands_for=f"window of {worker.worker_id}",
    )
    return await launch_shim(engine, worker, task, shim, "", limit, detached=detached)


def _sockets(environ: Mapping[str, str]) -> dict[str, str]:
    """Where tmux is told to have its sockets, for whoever looks for one later on, from wherever."""
    told = environ.get("TMUX_TMPDIR")
    return {"TMUX_TMPDIR": str(Path(told).absolute())} if told else {}
