"""Follows every task that has not ended, whoever gave it: so verdicts are taken and news is there at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError

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
    _followed: set[str] = attrs.field(factory=set)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, item: TaskEvent) -> None:
        self.log.add(item)
        self._announce()

    async def news(self, seconds: float) -> None:
        """Return when something has happened in a task or begun, at the latest after this time."""
        deadline = trio.current_time() + seconds
        news = self._news
        while not news.is_set() and trio.current_time() < deadline:
            with trio.move_on_at(min(deadline, trio.current_time() + _LOOK_EVERY)):
                await news.wait()
            self.look()

    def look(self) -> None:
        """Follow what is not followed yet."""
        state = self.manager.app.state
        for task in state.open_tasks():
            if task.task_id not in self._followed and state.result(task) is None:
                self._followed.add(task.task_id)
                self._nursery.start_soon(self._follow, task.task_id)
                self._announce()

    async def _follow(self, task_id: str) -> None:
        try:
            await self.manager.wait_for_task(task_id)
        except (
            MahavishnuError
        ) as error:  # its plugin or its daemon is not here: an engine that has it settles it
            _log.warning("task %s cannot be followed: %s", task_id, error)
            return  # it stays in the set: nothing changes while this server runs
        self._followed.discard(task_id)
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = trio.Event()
