"""What is being waited for while workers are made ready, told to the client as progress of its call."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_mcp.progress import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.mcpserver import Context

    from mahavishnu_core import WorkerManager

_PAUSE = 1.0
"""Seconds from one message to the next at least: only the newest is of use."""


@asynccontextmanager
async def telling_notices(manager: WorkerManager, ctx: Context) -> AsyncIterator[None]:
    """Tell the client of a call meanwhile what the manager waits for. Errors come out in a group."""
    notices = _Notices(ctx)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notices.tell_all)
        with manager.listening(notices.hear):
            yield
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Notices:
    """The newest notice, and a sign of life where there is none."""

    _ctx: Context
    _text: str = ""
    _news: trio.Event = attrs.field(factory=trio.Event)

    def hear(self, text: str) -> None:
        self._text = text
        self._news.set()

    async def tell_all(self) -> None:
        began, count = trio.current_time(), 0
        while True:
            with trio.move_on_after(HEARTBEAT) as waiting:
                await self._news.wait()
            count += 1
            if waiting.cancelled_caught:
                so_far = f"{trio.current_time() - began:.0f} s so far"
                await self._ctx.report_progress(count, None, f"{self._text or 'being made ready'}, {so_far}")
                continue
            self._news = trio.Event()
            await self._ctx.report_progress(count, None, self._text)
            await trio.sleep(_PAUSE)
