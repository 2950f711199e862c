"""Standing workers: their one task begins when they are spawned, and goes on until they are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.dispatch import find_again, launch
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.events import Started
from mahavishnu_core.output import events_so_far
from mahavishnu_core.task_run import LOOK_LATEST, LOOK_SOONEST, TERM_GRACE, take_up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.app import App
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.models import Exit, Task, Worker

PATIENCE = 30.0
"""Seconds in which a standing worker must have started, on however loaded a machine."""


async def begin_all(engine: Engine, workers: Iterable[Worker], *, until_started: bool) -> None:
    """Begin the tasks of those that stand, which go on without this engine. Raises MahavishnuError."""
    standing = [worker for worker in workers if worker.type.standing]
    for worker in standing:
        await _begin(engine, worker)
    for worker in standing if until_started else ():
        await started(engine, worker)


async def started(engine: Engine, worker: Worker) -> None:
    """Return when a standing worker that was begun has started, as its parser tells.

    Raises MahavishnuError when it has ended instead, or has not started after 30 s.
    """
    task = engine.app.state.task(f"{worker.worker_id}.1")
    run = await find_again(engine, worker, task)
    ended: Exit | None = None
    with trio.move_on_after(PATIENCE) as patience:
        ended = await _end_or_start(engine.app, task, run)
    if patience.cancelled_caught:
        raise MahavishnuError(f"worker type {worker.type.name!r} had not started after {PATIENCE:g} s")
    if ended is not None and not _has_started(engine.app, task):
        result = await take_up(engine, worker, task).settle(ended)
        raise MahavishnuError(f"worker type {worker.type.name!r} did not start: {result.error}")


async def _end_or_start(app: App, task: Task, run: Run) -> Exit | None:
    """How a command has ended, or None once it has started, whichever comes first."""
    pause = LOOK_SOONEST
    while not _has_started(app, task):
        with trio.move_on_after(pause):
            return await run.wait()
        pause = min(pause * 1.5, LOOK_LATEST)
    return None


async def _begin(engine: Engine, worker: Worker) -> None:
    task = engine.app.state.add_task(worker, worker.type.description or worker.type.name, None)
    failure: MahavishnuError | None = None
    try:
        launched = await launch(engine, worker, task, detached=True)
        await launched.state()
    except MahavishnuError as error:
        failure = error
    if failure is not None:
        await take_up(engine, worker, task).fail(str(failure))
        raise failure
    if engine.app.state.is_closed(worker.worker_id):  # it looks for what it has to end before it is closed
        await launched.end("cancelled", TERM_GRACE)
        await take_up(engine, worker, task).settle(await launched.wait())
        raise MahavishnuError(f"worker {worker.worker_id!r} was closed before it had started")


def _has_started(app: App, task: Task) -> bool:
    return any(isinstance(event, Started) for events in events_so_far(app, task) for event in events)
