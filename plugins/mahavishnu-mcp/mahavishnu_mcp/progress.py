"""Progress notifications: one for every step of a task, and a sign of life where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from mahavishnu_mcp.following import Follower

HEARTBEAT = 10.0
"""Seconds of silence after which the client is told that the task goes on: many give up after 30 or 60."""
_STEPS: Final = {"text": "says", "thinking": "thinks", "tool_call": "uses", "notice": "notice"}


async def report_steps(follower: Follower, ctx: Context, task_id: str) -> None:
    """Tell of the steps of a task until cancelled. Nothing is sent to a client that did not ask for it."""
    began, seq, count = trio.current_time(), 0, 0
    await ctx.report_progress(count, None, f"task {task_id} was given")
    while True:
        happenings = follower.log.newest(task_id, seq)
        seq = happenings[-1].seq if happenings else seq
        for each in happenings:
            if each.type in _STEPS:
                count += 1
                await ctx.report_progress(count, None, f"{task_id} {_STEPS[each.type]}: {each.text}")
        heard = trio.current_time()
        await follower.news(HEARTBEAT)
        if trio.current_time() - heard >= HEARTBEAT:
            count += 1
            lasted = trio.current_time() - began
            await ctx.report_progress(count, None, f"{task_id} goes on, {lasted:.0f} s so far")
