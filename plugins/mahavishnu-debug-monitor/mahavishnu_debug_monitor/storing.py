"""Brings lines to the storages in batches, and keeps nobody waiting: a storage may be slow or down."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.models import LogBatch, utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

MOST_LINES = 500
"""Of one batch."""
MOST_WAITING = 100_000
"""Lines that may wait; of more the oldest are given up, and counted."""
_SOONEST, _LATEST = 2.0, 60.0
"""Seconds until a storage that has failed is asked again, longer and longer."""


@attrs.frozen
class _Line:
    number: int
    text: str
    created: str


@attrs.define(eq=False)
class Storing:
    """The lines of one worker that some storage does not have yet. ``serve`` stores them as they come."""

    _keep: Callable[[LogBatch], Awaitable[Mapping[str, str | None]]]
    """Has all storages keep a batch; each by name, with the reason if it could not."""
    _told: Callable[[Mapping[str, str | None]], None]
    """Hears where lines are kept, whenever that changes."""
    lost: int = 0
    """Lines that some storage will never have."""
    _lines: deque[_Line] = attrs.field(factory=deque)
    _batches: deque[LogBatch] = attrs.field(factory=deque)
    """Made of lines, and not stored yet: a batch stays as it is, so that each storage knows it again."""
    _failed: deque[LogBatch] = attrs.field(factory=deque)
    """Those that some storage could not keep."""
    _outcome: Mapping[str, str | None] | None = None
    _has_more: trio.Event = attrs.field(factory=trio.Event)
    _again_at: float = 0.0
    _pause: float = _SOONEST

    @property
    def waiting(self) -> int:
        """How many lines some storage does not have yet."""
        return len(self._lines) + sum(len(batch.lines) for batch in (*self._batches, *self._failed))

    def add(self, first: int, texts: Iterable[str]) -> None:
        """Take lines in, in order; ``first`` is the number of the first."""
        created = utc_now()
        self._lines.extend(_Line(number, text, created) for number, text in enumerate(texts, first))
        while len(self._lines) > MOST_WAITING:
            self._lines.popleft()
            self.lost += 1
        self._has_more.set()

    async def serve(self) -> None:
        """Store what comes, and again what could not be stored."""
        while True:
            with trio.CancelScope() as waiting:
                if self._failed:
                    waiting.deadline = self._again_at
                await self._has_more.wait()
            self._has_more = trio.Event()
            await self.store()

    async def store(self) -> None:
        """Store what is there, and what has failed before and is due. Cancelled, it all waits again."""
        if self._failed and trio.current_time() >= self._again_at:
            self._pause = min(2 * self._pause, _LATEST)
            self._batches.extendleft(reversed(self._failed))
            self._failed.clear()
        while self._batches or self._lines:
            if not self._batches:
                self._batches.append(self._next_batch())
            outcome = await self._keep(self._batches[0])
            self._note(self._batches.popleft(), outcome)

    def _next_batch(self) -> LogBatch:
        """Of lines whose numbers follow each other."""
        taken = [self._lines.popleft()]
        while self._lines and len(taken) < MOST_LINES and self._lines[0].number == taken[-1].number + 1:
            taken.append(self._lines.popleft())
        return LogBatch(taken[0].number, tuple(line.text for line in taken), taken[-1].created)

    def _note(self, batch: LogBatch, outcome: Mapping[str, str | None]) -> None:
        if all(reason is None for reason in outcome.values()):
            self._pause = _SOONEST if not self._failed else self._pause
        else:
            self._again_at = self._again_at if self._failed else trio.current_time() + self._pause
            self._failed.append(batch)
        while sum(len(each.lines) for each in self._failed) > MOST_WAITING:
            self.lost += len(self._failed.popleft().lines)
        if outcome != self._outcome:
            self._outcome = outcome
            self._told(outcome)
