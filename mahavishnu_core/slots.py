"""How many tasks run at once in one manager, and the turn of each."""

from __future__ import annotations

import resource
import warnings
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.settings.schema import CONCURRENT_WORKERS

if TYPE_CHECKING:
    import trio

    from mahavishnu_core.rate_limits import RateLimits

_OWN_FILES = 40
"""Open files that an engine has use for besides those of the tasks that it follows."""
_FILES_OF_A_TASK = 2


@attrs.define
class Slot:
    """One place among those for running commands: taken at most once, given back once."""

    _slots: trio.Semaphore
    _limits: RateLimits
    _kind: str
    """The worker type of its task."""
    _is_held: bool = False

    async def take(self) -> None:
        """Wait for a place, and outside of it for the end of a rate limit. Raises RateLimited."""
        while not self._is_held:
            await self._limits.wait(self._kind)
            await self._slots.acquire()
            self._is_held = True
            if self._limits.holds(self._kind):  # it was met while we waited for the place
                self.give_back()

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._slots.release()


def within_bounds(wanted: int) -> int:
    """The nearest number of tasks that may run at once; the caller's caller is warned where it is another.

    Where this program may open few files it is the number of tasks that it can follow.
    """
    width = CONCURRENT_WORKERS.clamp(wanted)
    if width != wanted:
        low, high = CONCURRENT_WORKERS.low, CONCURRENT_WORKERS.high
        text = f"max_concurrent {wanted} is not between {low} and {high}: {width} is used"
        warnings.warn(text, stacklevel=3)
    return min(width, _most_followed())


def _most_followed() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = files == resource.RLIM_INFINITY
    return CONCURRENT_WORKERS.high if unlimited else max(1, (files - _OWN_FILES) // _FILES_OF_A_TASK)
