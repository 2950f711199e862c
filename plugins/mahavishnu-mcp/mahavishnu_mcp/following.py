"""Follows every task that has not ended, whoever gave it: so verdicts are taken and news is there at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError, StateDirError

if TYPE_CHECKING:
    from mahavishnu_core import WorkerManager
    from mahavishnu_core.events import TaskEvent
    from mahavishnu_mcp.events import EventLog

_LOOK_EVERY = 0.5
"""Seconds between looks for tasks that other programs have begun: files give no event when they appear."""
_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Follower:
    """Reads along in a nursery of its own, so that no call has to last as long as a task."""

    manager: WorkerManager
    log: EventLog
    _nursery: trio.Nursery
    moment: int = 0
    """Grows with everything that happens: who looks at tasks takes it down first, and misses nothing."""
    _followed: dict[str, trio.Event] = attrs.field(factory=dict)
    """The tasks that are read here, with what is set when they are no longer."""
    _news: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, item: TaskEvent) -> None:
        self.log.add(item)
        self._announce()

    async def news(self, since: int, seconds: float) -> None:
        """Return when something has happened or begun since that moment, at the latest after this time."""
        deadline = trio.current_time() + seconds
        await trio.lowlevel.checkpoint()
        while self.moment == since and trio.current_time() < deadline:
            with trio.move_on_at(min(deadline, trio.current_time() + _LOOK_EVERY)):
                await self._news.wait()
            self.look()

    def look(self) -> None:
        """Follow what is not followed yet."""
        state = self.manager.app.state
        for task in state.open_tasks():
            if task.task_id not in self._followed and state.result(task) is None:
                self._followed[task.task_id] = trio.Event()
                self._nursery.start_soon(self._follow, task.task_id)
                self._announce()

    def has_given_up(self, task_id: str) -> bool:
        """Whether a task cannot be followed here."""
        followed = self._followed.get(task_id)
        return followed is not None and followed.is_set()

    async def wait(self, task_id: str) -> None:
        """Return when a task has ended. It is read here, whatever becomes of those who wait.

        Raises UnknownTask, PluginError where what it does cannot be read, and StateDirError where its result
        cannot be written down.
        """
        self.look()
        followed = self._followed.get(task_id)
        if followed is not None:
            await followed.wait()
        await self._see_settled(task_id)

    async def _follow(self, task_id: str) -> None:
        followed = self._followed[task_id]
        try:
            await self._see_settled(task_id)
        except (MahavishnuError, OSError) as error:
            # its plugin or its daemon is not here, or the disk is full: an engine that can settles it; it
            # stays among the followed, as nothing changes while this server runs
            _log.warning("task %s cannot be followed: %s", task_id, error)
        else:
            del self._followed[task_id]
        finally:
            followed.set()
        self._announce()

    async def _see_settled(self, task_id: str) -> None:
        await self.manager.wait_for_task(task_id)
        state = self.manager.app.state
        if state.result(state.task(task_id)) is None:
            raise StateDirError(
                f"the result of task {task_id!r} cannot be written into the state directory: "
                "make room there, nothing is lost"
            )

    def _announce(self) -> None:
        self.moment += 1
        self._news.set()
        self._news = trio.Event()
