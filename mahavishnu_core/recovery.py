"""What an engine does first: takes up what earlier engines left, so that nothing that ran is lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from mahavishnu_core.dispatch import find_again
from mahavishnu_core.engine import STATE_DIRECTORY, StorageFailure
from mahavishnu_core.errors import MahavishnuError, not_kept
from mahavishnu_core.keeper_link import LocalRun
from mahavishnu_core.output import events_so_far
from mahavishnu_core.tally import Tally
from mahavishnu_core.task_run import RESULT_GRACE, TERM_GRACE, take_up

if TYPE_CHECKING:
    from collections.abc import Container

    from mahavishnu_core.engine import Engine
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.models import Cause, Task, Worker

_AT_ONCE = 20
_MOST_READ = 64 * 1024**2
"""Bytes of output of a quiet task that are read for its last word."""


async def recover(engine: Engine, followed: Container[str]) -> None:
    """Settle what has ended, store what is not stored, and have a keeper watch what still runs.

    Nothing is ever run again: a task whose engine died before it could be started is cancelled. ``followed``
    are the ids of tasks that this engine reads along with: it sees itself where they hang.
    """
    slots = trio.CapacityLimiter(_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for task in engine.app.state.open_tasks():
            nursery.start_soon(_take_up, engine, task, followed, slots)


async def _take_up(engine: Engine, task: Task, followed: Container[str], slots: trio.CapacityLimiter) -> None:
    async with slots:
        try:
            await _take_up_one(engine, engine.app.state.worker(task.worker_id), task, followed)
        except MahavishnuError:  # its plugin or its daemon is not here: later
            return
        except OSError as error:  # what is wrong with its files harms no other
            failure = StorageFailure(STATE_DIRECTORY, task.task_id, str(not_kept(error)))
            engine.storage_failures.append(failure)


async def _take_up_one(engine: Engine, worker: Worker, task: Task, followed: Container[str]) -> None:
    state = engine.app.state
    if (result := state.result(task)) is not None:
        await engine.store(worker, task, result)
    elif (ended := state.exit(task)) is not None:
        await take_up(engine, worker, task).settle(ended)
    elif state.was_launched(task) or not state.owner_lives(task):
        run = await find_again(engine, worker, task)
        is_over = await run.state() == "ended"
        if is_over or (task.task_id not in followed and await _end_if_it_hangs(engine, worker, task, run)):
            await take_up(engine, worker, task).settle(await run.wait())


async def _end_if_it_hangs(engine: Engine, worker: Worker, task: Task, run: Run) -> bool:
    """End a command that has said its last word and goes on, as an engine that followed it would have.

    What has put out more than is read in a moment is left to its limits, and so is what a place of somebody
    else's runs: only the keeper has seen how long it is quiet.
    """
    if worker.type.is_plain or not isinstance(run, LocalRun) or run.quiet_seconds < RESULT_GRACE:
        return False
    last_word = await _last_word(engine, task)
    if last_word is not None:
        engine.record("limit_reached", task, cause=last_word)
        await run.end(last_word, TERM_GRACE)
    return last_word is not None


async def _last_word(engine: Engine, task: Task) -> Cause | None:
    """Why a quiet command is to be ended; None where it is not, or has gone on since we began to read."""
    path = task.directory / "stdout.jsonl"
    size = os.lstat(path).st_size
    if size > _MOST_READ:
        return None
    tally = Tally(keeps_text=False)
    for events in events_so_far(engine.app, task):
        tally.add(events)
        await trio.lowlevel.checkpoint()
    return tally.last_word if os.lstat(path).st_size == size else None
