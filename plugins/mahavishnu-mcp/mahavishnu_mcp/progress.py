"""Progress notifications: the steps of a task, a few a second, and a sign of life where there is none."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import trio

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from mahavishnu_core import Task
    from mahavishnu_mcp.service import Service

HEARTBEAT = 10.0
"""Seconds of silence after which the client is told that the task goes on: many give up after 30 or 60."""
_STEPS: Final = {
    "text": "says",
    "thinking": "thinks",
    "tool_call": "uses",
    "notice": "notice",
    "progress": "reports",
}
_PAUSE: Final = 0.25
"""Seconds from one message of a call to its next, while its tasks run."""
_WAITING: Final = 10
"""Steps of a task that wait to be told. Of those that come faster only the newest are of use."""
_LOOKED_AT: Final = 100
"""Events among which the newest steps are looked for."""


@attrs.define(eq=False)
class Progress:
    """What the client of one call is told of its tasks, by numbers that grow whichever task it is about.

    Nothing is sent to a client that did not ask for it.
    """

    _service: Service
    _ctx: Context
    _count: int = 0
    _next: float = -math.inf
    """When something may be told again."""
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def see_through(self, task_id: str) -> None:
        """Wait for a task's end, and tell of its steps. Raises PluginError where it cannot be read."""
        follower, state = self._service.follower, self._service.state
        task, seq, began = state.task(task_id), 0, trio.current_time()
        untold, told = deque([f"task {task_id} was given"], _WAITING), began
        follower.look()
        while True:
            if untold and trio.current_time() >= self._next:
                await self._tell(untold.popleft())
                told = trio.current_time()
            moment = follower.moment
            is_over = state.result(task) is not None or follower.has_given_up(task_id)
            seq = await self._add_steps(untold, task, seq)
            if is_over:
                break
            now = trio.current_time()
            if not untold and now >= told + HEARTBEAT:
                untold.append(f"{task_id} goes on, {now - began:.0f} s so far")
            await follower.news(moment, (self._next if untold else told + HEARTBEAT) - now)
        for message in untold:
            await self._tell(message)
        await follower.wait(task_id)

    async def _add_steps(self, untold: deque[str], task: Task, seq: int) -> int:
        """Add the steps after that number; the number of the last."""
        happenings = await self._service.follower.log.newest(task, seq, _LOOKED_AT)
        steps = (each for each in happenings if each.type in _STEPS)
        untold.extend(f"{task.task_id} {_STEPS[each.type]}: {each.text}" for each in steps)
        return happenings[-1].seq if happenings else seq

    async def _tell(self, message: str) -> None:
        self._next = trio.current_time() + _PAUSE
        async with self._sending:
            self._count += 1
            await self._ctx.report_progress(self._count, None, message)
