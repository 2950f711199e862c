"""Standing workers as people meet them: what one says when it has started, the debug monitor of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from mahavishnu_cli.streams import say
from mahavishnu_core import WorkerStatus, debug_log
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.events import Notice
from mahavishnu_core.output import events_so_far

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_core import WorkerManager

MONITOR = "debug-monitor"
"""The worker type that shows the debug log."""


def tell_notices(manager: WorkerManager, worker_id: str) -> None:
    """Say what a standing worker has to tell of itself."""
    app = manager.app
    task = app.state.last_task(worker_id)
    if task is not None and app.state.is_standing(worker_id):
        for events in events_so_far(app, task):
            for event in events:
                if isinstance(event, Notice):
                    say(f"{worker_id}: {event.text}")


@asynccontextmanager
async def debugged(manager: WorkerManager, interrupts: Interrupts) -> AsyncIterator[None]:
    """Meanwhile have a debug monitor show what happens, where the app is debugged. It is in nobody's way."""
    if not manager.app.debug:
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_show, manager)
        yield
        if interrupts.number is not None:
            nursery.cancel_scope.cancel()


async def _show(manager: WorkerManager) -> None:
    """Open a monitor, unless one is open, and say how to see it; or why there is none, and what to do."""
    log = debug_log.path_in(manager.app.state.root)
    try:
        worker_id = await _open_one(manager) or (await manager.spawn_workers(MONITOR))[0]
        tell_notices(manager, worker_id)
    except MahavishnuError as error:
        say(f"no debug monitor ({error}); follow the log with 'tail -F {log}'")
    else:
        say(f"{worker_id}: shows {log}; see it later with 'mahavishnu workers logs {worker_id}'")
        say(f"{worker_id}: stays open; end it with 'mahavishnu workers close {worker_id}'")


async def _open_one(manager: WorkerManager) -> str | None:
    """A monitor that is there already, if its window is."""
    await manager.recover()  # one that has ended unseen is none
    for report in manager.monitor_workers():
        if report.worker_type == MONITOR and report.status is WorkerStatus.RUNNING:
            return report.worker_id
    return None
