"""How many events a parser may give for the lines it got: more than any agent says, and not without end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

MOST = 100_000
"""Events that a parser may give beyond what its lines allow: it may have kept some back."""
A_LINE = 256
"""Events that each line allows, whatever it holds."""
_CHARACTERS = 8


@attrs.define
class Allowance:
    """What one parser may still give. It fills up with every line, to no more than ``MOST``.

    Take a new one for the end, which has no lines: whatever was given before, there is something left to say.
    """

    _left: int = MOST

    def take(
        self, events: Iterable[Event], lines: Sequence[dict[str, JSON] | str] = ()
    ) -> list[Event] | None:
        """All the events that came of these lines; None where they are too many and may have no end."""
        self._left = min(self._left + A_LINE * len(lines), MOST)
        coming = iter(events)
        taken = list(islice(coming, self._left + 1))
        if len(taken) > self._left:
            most = self._left + sum(map(_parts, lines))
            taken += islice(coming, most + 1 - len(taken))
            if len(taken) > most:
                return None
        self._left = max(self._left - len(taken), 0)
        return taken


def _parts(line: dict[str, JSON] | str) -> int:
    """How many things a line can tell of at most: one for each value in it, more for a long text."""
    waiting: list[JSON] = [line]
    count = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            count += len(value) // _CHARACTERS
    return count
