"""Progress notifications: one for every step of a task, and a sign of life where there is none."""

from __future__ import annotations

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
_AT_ONCE = 10_000


@attrs.define(eq=False)
class Progress:
    """What the client of one call is told of its tasks, by numbers that grow whichever task it is about.

    Nothing is sent to a client that did not ask for it.
    """

    _service: Service
    _ctx: Context
    _count: int = 0
    _told: dict[str, float] = attrs.field(factory=dict)
    """By task, when the client has last heard of it."""
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def see_through(self, task_id: str) -> None:
        """Wait for a task's end, and tell of all its steps. Raises PluginError where it cannot be read."""
        follower, state = self._service.follower, self._service.state
        task, seq, began = state.task(task_id), 0, trio.current_time()
        follower.look()
        await self._tell(task_id, f"task {task_id} was given")
        while True:
            moment, is_over = follower.moment, state.result(task) is not None
            seq = await self._tell_steps(task, seq)
            if is_over or follower.has_given_up(task_id):
                break
            if trio.current_time() - self._told[task_id] >= HEARTBEAT:
                await self._tell(task_id, f"{task_id} goes on, {trio.current_time() - began:.0f} s so far")
            await follower.news(moment, self._told[task_id] + HEARTBEAT - trio.current_time())
        await follower.wait(task_id)

    async def _tell_steps(self, task: Task, seq: int) -> int:
        """Tell of the steps after that number; the number of the last."""
        while happenings := await self._service.follower.log.since(task, seq, _AT_ONCE):
            seq = happenings[-1].seq
            for each in happenings:
                if each.type in _STEPS:
                    await self._tell(task.task_id, f"{task.task_id} {_STEPS[each.type]}: {each.text}")
        return seq

    async def _tell(self, task_id: str, message: str) -> None:
        async with self._sending:
            self._count += 1
            await self._ctx.report_progress(self._count, None, message)
        self._told[task_id] = trio.current_time()
