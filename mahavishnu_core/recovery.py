"""What an engine does first: takes up what earlier engines left, so that nothing that ran is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.dispatch import find_again
from mahavishnu_core.engine import STATE_DIRECTORY, StorageFailure
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.task_run import take_up

if TYPE_CHECKING:
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.models import Task, Worker

_AT_ONCE = 20


async def recover(engine: Engine) -> None:
    """Settle what has ended, store what is not stored, and have a keeper watch what still runs.

    Nothing is ever run again: a task whose engine died before it could be started is cancelled.
    """
    slots = trio.CapacityLimiter(_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for task in engine.app.state.open_tasks():
            nursery.start_soon(_take_up, engine, task, slots)


async def _take_up(engine: Engine, task: Task, slots: trio.CapacityLimiter) -> None:
    async with slots:
        try:
            await _take_up_one(engine, engine.app.state.worker(task.worker_id), task)
        except MahavishnuError:  # its plugin or its daemon is not here: later
            return
        except OSError as error:  # what is wrong with its files harms no other
            reason = f"{error.strerror}: {error.filename!r}"
            engine.storage_failures.append(StorageFailure(STATE_DIRECTORY, task.task_id, reason))


async def _take_up_one(engine: Engine, worker: Worker, task: Task) -> None:
    state = engine.app.state
    if (result := state.result(task)) is not None:
        await engine.store(worker, task, result)
    elif (ended := state.exit(task)) is not None:
        await take_up(engine, worker, task).settle(ended)
    elif state.was_launched(task) or not state.owner_lives(task):
        run = await find_again(engine, worker, task)
        if await run.state() == "ended":
            await take_up(engine, worker, task).settle(await run.wait())
