"""SIGINT, SIGTERM and SIGHUP while a command is in the foreground."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.define(eq=False)
class Interrupts:
    """The signals that have come, and what is done about them: the block is left, unless told otherwise."""

    count: int = 0
    number: int | None = None
    """The first signal."""
    answer: Callable[[], Awaitable[None]] | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def exit_status(self) -> int:
        """128+n for the first signal, 0 without one."""
        return 0 if self.number is None else 128 + self.number

    async def hear(self, number: int) -> None:
        self.number = self.number or number
        self.count += 1
        if self.answer is None:
            self.scope.cancel()
        else:
            await self.answer()


@asynccontextmanager
async def heeding() -> AsyncIterator[Interrupts]:
    """Heed signals within the block, instead of dying of them.

    One that the caller had ignored stays ignored: that is what ``nohup`` and ``&`` are for.
    """
    heeded = [number for number in _HEEDED if signal.getsignal(number) is not signal.SIG_IGN]
    interrupts = Interrupts()

    async def listen(coming: AsyncIterator[int]) -> None:
        async for number in coming:
            await interrupts.hear(number)

    with trio.open_signal_receiver(*heeded) as coming:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, coming)
            with interrupts.scope:
                yield interrupts
            nursery.cancel_scope.cancel()
