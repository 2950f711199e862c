"""What an engine does first: takes up what earlier engines left, so that nothing that ran is lost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import trio

from mahavishnu_core.dispatch import find_again
from mahavishnu_core.engine import STATE_DIRECTORY, StorageFailure
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.output import events_so_far
from mahavishnu_core.tally import Tally
from mahavishnu_core.task_run import RESULT_GRACE, TERM_GRACE, take_up

if TYPE_CHECKING:
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.models import Task, Worker

_AT_ONCE = 20
_MOST_READ = 64 * 1024**2
"""Bytes of output of a quiet task that are read for its last word."""


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
        if await run.state() == "ended" or await _ends_now(engine, task, run):
            await take_up(engine, worker, task).settle(await run.wait())


async def _ends_now(engine: Engine, task: Task, run: Run) -> bool:
    """End a command that has said its last word and hangs, as an engine that followed it would have.

    What has put out more than is read in a moment is left to its limits.
    """
    try:
        output = os.lstat(task.directory / "stdout.jsonl")
    except FileNotFoundError:  # it waits for a slot
        return False
    if time.time() - output.st_mtime < RESULT_GRACE or output.st_size > _MOST_READ:
        return False
    tally = Tally(keeps_text=False)
    for events in events_so_far(engine.app, task):
        tally.add(events)
        await trio.lowlevel.checkpoint()
    if tally.last_word is None:
        return False
    engine.record("limit_reached", task, cause=tally.last_word)
    await run.end(tally.last_word, TERM_GRACE)
    return True
