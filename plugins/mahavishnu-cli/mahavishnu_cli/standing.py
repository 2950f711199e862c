"""Standing workers as people meet them: what one says when it has started, the debug monitor of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_cli.streams import say
from mahavishnu_core import WorkerStatus, debug_log, standing
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.events import Notice, Started
from mahavishnu_core.output import events_so_far
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from mahavishnu_core import WorkerManager

MONITOR = "debug-monitor"
"""The worker type that shows the debug log."""
_LAST_PATIENCE = 1.0
"""Seconds that a program waits in the end for a monitor that has not opened yet."""


def tell_notices(manager: WorkerManager, worker_id: str) -> None:
    """Say what a standing worker had to tell of itself until it had started."""
    app = manager.app
    task = app.state.last_task(worker_id)
    if task is not None and task.is_standing:
        events = (event for events in events_so_far(app, task) for event in events)
        for event in takewhile(lambda event: not isinstance(event, Started), events):
            if isinstance(event, Notice):
                say(f"{worker_id}: {event.text}")


@asynccontextmanager
async def debugged(manager: WorkerManager) -> AsyncIterator[None]:
    """Meanwhile have a debug monitor show what happens. It is in nobody's way."""
    opening = _Opening(manager)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opening.run)
            yield
            with trio.move_on_after(_LAST_PATIENCE):
                await opening.is_over.wait()
            nursery.cancel_scope.cancel()
    finally:
        opening.tell_if_unfinished()
        if manager.engine.log is not None and manager.engine.log.lost:
            say(f"the debug log {str(manager.engine.log.path)!r} lacks lines: it cannot be written")


@attrs.define(eq=False)
class _Opening:
    """A monitor that is being opened. It goes on with that when this program ends."""

    _manager: WorkerManager
    _worker_id: str | None = None
    is_over: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """Open one, unless one is open, and say how to see it; or why there is none, and what to do."""
        log = debug_log.path_in(self._manager.app.state.root)
        try:
            worker_id = await self._open()
            tell_notices(self._manager, worker_id)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a monitor, the run goes on
            say(f"no debug monitor ({one_line(str(error))}); follow the log with 'tail -F {log}'")
        else:
            say(f"{worker_id}: shows {log}; see it later with 'mahavishnu workers logs {worker_id}'")
            say(f"{worker_id}: stays open; end it with 'mahavishnu workers close {worker_id}'")
        self.is_over.set()

    def tell_if_unfinished(self) -> None:
        if self._worker_id is not None and not self.is_over.is_set():
            say(
                f"{self._worker_id}: the debug monitor has not opened yet; see what it does with 'mahavishnu "
                f"workers logs {self._worker_id}', end it with 'mahavishnu workers close {self._worker_id}'"
            )

    async def _open(self) -> str:
        """Raises MahavishnuError, and then none is left."""
        manager = self._manager
        await manager.recover()  # one that has ended unseen is none
        for report in manager.monitor_workers():
            if report.worker_type == MONITOR and report.status is WorkerStatus.RUNNING:
                self._worker_id = report.worker_id
                await standing.started(manager.engine, manager.app.state.worker(report.worker_id))
                return report.worker_id
        [self._worker_id] = await manager.spawn_workers(MONITOR, until_started=False)
        failure: MahavishnuError | None = None
        try:
            await standing.started(manager.engine, manager.app.state.worker(self._worker_id))
        except MahavishnuError as error:
            failure = error
        if failure is not None:
            await manager.close_worker(self._worker_id)
            raise failure
        return self._worker_id
