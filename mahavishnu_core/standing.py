"""Standing workers: their one task begins when they are spawned, and goes on until they are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.dispatch import launch
from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_core.events import Started
from mahavishnu_core.task_run import take_up

if TYPE_CHECKING:
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.events import TaskEvent
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.models import Worker
    from mahavishnu_core.task_run import TaskRun

PATIENCE = 30.0
"""Seconds in which a standing worker must have started, on however loaded a machine."""


def require_takes_tasks(worker: Worker) -> None:
    """Raises UsageError for a standing worker: it takes no tasks."""
    if worker.type.standing:
        name = worker.worker_id
        raise UsageError(
            f"worker {name!r} of type {worker.type.name!r} takes no tasks: see what it does with 'mahavishnu "
            f"workers logs {name}', end it with 'mahavishnu workers close {name}'"
        )


async def stand_up(engine: Engine, worker: Worker) -> None:
    """Begin the task of a standing worker; return when its parser tells that it has started.

    It goes on without this engine then. Raises MahavishnuError when it cannot be begun, ends instead, or has
    not started after 30 s; the caller closes the worker.
    """
    what = worker.type.description or worker.type.name
    run = take_up(engine, worker, engine.app.state.add_task(worker, what, None))
    try:
        launched = await launch(engine, worker, run.task, detached=True)
    except MahavishnuError as error:
        await run.fail(str(error))
        raise
    except BaseException:
        run.close()
        raise
    with trio.move_on_after(PATIENCE) as patience:
        await _start(engine, run, launched)
    if patience.cancelled_caught:
        raise MahavishnuError(f"worker type {worker.type.name!r} had not started after {PATIENCE:g} s")
    if run.output.tally.started is None and run.result is not None:
        raise MahavishnuError(f"worker type {worker.type.name!r} did not start: {run.result.error}")


async def _start(engine: Engine, run: TaskRun, launched: Run) -> None:
    """Return when a task has started, or has ended."""
    heard = trio.Event()

    def hear(item: TaskEvent) -> None:
        if item.task_id == run.task.task_id and isinstance(item.event, Started):
            heard.set()

    async def follow() -> None:
        await run.follow(launched)
        heard.set()

    engine.observers.append(hear)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await heard.wait()
            nursery.cancel_scope.cancel()
    finally:
        engine.observers.remove(hear)
