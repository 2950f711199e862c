"""Rate limits of vendors: after one, tasks of that worker type that have not begun wait for its end."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE = 60.0
"""Seconds to wait where the agent does not say when its limit ends; twice as long after each further one."""


class RateLimited(MahavishnuError):
    """A task is not begun: its type is at a limit that ends later than may be waited for.

    ``retry_at`` is when it ends, in seconds since the epoch; None where nobody said so.
    """

    def __init__(self, kind: str, retry_at: float | None) -> None:
        until = "nobody knows for how long" if retry_at is None else f"until {_utc(retry_at)}"
        super().__init__(
            f"not begun: an earlier task of {kind!r} was rate limited, {until}: give it again then, "
            "or have it wait longer with the setting 'rate_limit_wait_seconds'"
        )
        self.retry_at = retry_at


@attrs.frozen
class _Limit:
    until: float
    """By Trio's clock."""
    retry_at: float | None
    pause: float
    """Seconds that were guessed, 0 where the agent said it."""


@attrs.define(eq=False)
class RateLimits:
    """The limits that tasks of one engine have met, by worker type."""

    longest_wait: float
    """Seconds that a task may wait for the end of one; where it takes longer the task is given up."""
    _notify: Callable[[str], None]
    _limits: dict[str, _Limit] = attrs.field(factory=dict)

    def met(self, kind: str, retry_at: float | None) -> None:
        """A task of this type was refused; ``retry_at`` is when the agent says that it may try again."""
        now, known = trio.current_time(), self._limits.get(kind)
        told = 0.0 if retry_at is None else retry_at - time.time()
        if told > 0:
            self._limits[kind] = _Limit(now + told, retry_at, 0)
        elif known is None or now >= known.until:  # else it began before that one was met
            pause = 2 * known.pause if known is not None and known.pause else FIRST_PAUSE
            self._limits[kind] = _Limit(now + pause, None, pause)

    def passed(self, kind: str) -> None:
        """A task of this type has succeeded: a limit whose time is over is forgotten."""
        if not self.holds(kind):
            self._limits.pop(kind, None)

    def holds(self, kind: str) -> bool:
        """Whether tasks of this type are not to begin now."""
        limit = self._limits.get(kind)
        return limit is not None and trio.current_time() < limit.until

    async def wait(self, kind: str) -> None:
        """Return when tasks of this type may begin. Raises RateLimited where that is too far away."""
        while self.holds(kind):
            limit = self._limits[kind]
            left = limit.until - trio.current_time()
            if left > self.longest_wait:
                raise RateLimited(kind, limit.retry_at)
            self._notify(f"{kind} is rate limited: its tasks begin at {_utc(time.time() + left)}")
            await trio.sleep_until(limit.until)


def _utc(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # an agent may say anything
        return "a time that no calendar has"
