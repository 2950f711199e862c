"""SIGINT, SIGTERM and SIGHUP while a command is in the foreground."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from types import FrameType

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


@attrs.define(eq=False)
class Unwinding:
    """Whether SIGTERM or SIGHUP has come, and which one first."""

    number: int | None = None

    @property
    def exit_status(self) -> int:
        """128+n for that signal, 0 without one."""
        return 0 if self.number is None else 128 + self.number

    def hear(self, number: int, _: FrameType | None) -> None:
        """As Ctrl-C, once: a terminal that closes sends SIGHUP twice, the second into the clearing up."""
        if self.number is None:
            self.number = number
            signal.raise_signal(signal.SIGINT)  # Trio knows when it can be interrupted, and only by this one


@contextmanager
def unwinding() -> Iterator[Unwinding]:
    """Leave the block at SIGTERM and SIGHUP as at Ctrl-C, for code that calls ``trio.run`` itself."""
    before = {number: signal.getsignal(number) for number in _HEEDED}
    heard = Unwinding()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, heard.hear)
    # also where a script ignores Ctrl-C for its jobs in the background: without it there is no unwinding
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield heard
    except KeyboardInterrupt:
        if heard.number is None:  # it was Ctrl-C itself
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
