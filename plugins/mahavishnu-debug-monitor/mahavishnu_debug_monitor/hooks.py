"""The plugin ``debug-monitor``: a worker type whose workers show the debug log, and keep what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from mahavishnu_core import Command, Engine, Parser, Run, Task, Worker, WorkerType
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import JSON
    from mahavishnu_core.settings import Options
    from mahavishnu_core.testing import Sample

HOOK_API = 1
_NAME = "debug-monitor"
"""Of the worker type, its agent and its place."""


@hookimpl
def worker_types() -> Iterable[WorkerType]:
    from mahavishnu_core import WorkerType

    yield WorkerType(
        name=_NAME,
        agent=_NAME,
        place=_NAME,
        description="shows the debug log in a window of iTerm2 or tmux, and keeps what it shows",
        standing=True,
    )


@hookimpl
def place_options(place: str) -> type[Options] | None:
    if place != _NAME:
        return None
    from mahavishnu_debug_monitor.options import MonitorOptions

    return MonitorOptions


@hookimpl
def spawn(worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
    if worker.type.place != _NAME:
        return None
    from mahavishnu_debug_monitor.place import make_ready

    return make_ready(worker)


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    if worker.type.agent != _NAME:
        return None
    from mahavishnu_debug_monitor.place import command

    return command(worker, task)


@hookimpl
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    if worker.type.agent != _NAME:
        return None
    from mahavishnu_debug_monitor.parser import Reader

    return Reader(worker.worker_id)


@hookimpl
def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, detached: bool
) -> Awaitable[Run] | None:
    if worker.type.place != _NAME:
        return None
    from mahavishnu_debug_monitor import place

    return place.launch(engine, worker, task, command, limit, detached=detached)


@hookimpl
def close(worker: Worker) -> Awaitable[None] | None:
    if worker.type.place != _NAME:
        return None
    from mahavishnu_debug_monitor.place import give_back

    return give_back(worker)


@hookimpl
def diagnose(engine: Engine, kinds: Sequence[WorkerType]) -> Awaitable[Sequence[Check]] | None:
    mine = [kind for kind in kinds if kind.place == _NAME]
    if not mine:
        return None
    from mahavishnu_debug_monitor.diagnosis import diagnose_types

    return diagnose_types(engine, mine)


@hookimpl
def samples() -> Iterable[Sample]:
    from pathlib import Path

    from mahavishnu_core.testing import samples_in

    return samples_in(Path(__file__).parent / "samples", _NAME)
