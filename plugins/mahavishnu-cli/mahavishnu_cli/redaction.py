"""Events as records with known secrets taken out, also those that an agent says in several pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.events import Event, Finished, TaskEvent, Text, Thinking, to_dict
from mahavishnu_core.text import redact, redact_all, secret_begun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_core.models import JSON

_MOST_HELD = 1000
"""Events of a task that wait for what follows: between two pieces of one text come a few others."""


@attrs.define(eq=False)
class Redactor:
    """Gives events back as records, in the order of each task.

    A piece of a text that ends in what may be the beginning of a secret waits, with what comes after it,
    until the next piece tells. Where pieces make up a secret, the first has all of their text.
    """

    _secrets: tuple[str, ...]
    _held: dict[str, list[TaskEvent]] = attrs.field(factory=dict)
    """By task."""

    def add(self, item: TaskEvent) -> Iterator[dict[str, JSON]]:
        """What can be told now."""
        held = self._held.setdefault(item.task_id, [])
        held.append(item)
        if len(held) > _MOST_HELD or _is_end(item.event) or not self._waits(held):
            yield from self.rest(item.task_id)

    def rest(self, task_id: str) -> Iterator[dict[str, JSON]]:
        """What was held back of a task."""
        held = self._held.pop(task_id, [])
        words = {stream: redact(text, self._secrets) for stream, text in _texts(held).items()}
        is_whole = words == _texts(held)
        for item in held:
            record = to_dict(item)
            stream = _stream(item.event)
            if stream is not None and not is_whole:
                record["text"] = words.pop(stream, "")
            yield redact_all(record, self._secrets)

    def _waits(self, held: list[TaskEvent]) -> bool:
        return any(secret_begun(text, self._secrets) for text in _texts(held).values())


def _texts(items: list[TaskEvent]) -> dict[object, str]:
    """The texts that pieces make up, one for each speaker."""
    found: dict[object, str] = {}
    for item in items:
        if (stream := _stream(item.event)) is not None and isinstance(item.event, Text | Thinking):
            found[stream] = found.get(stream, "") + item.event.text
    return found


def _is_end(event: Event) -> bool:
    """Whether no piece goes on with those before it."""
    return isinstance(event, Finished) or (isinstance(event, Text | Thinking) and not event.partial)


def _stream(event: Event) -> object | None:
    """Whose words a piece of a text goes on with; None for what is no piece."""
    if isinstance(event, Text | Thinking) and event.partial:
        return type(event), event.parent
    return None
