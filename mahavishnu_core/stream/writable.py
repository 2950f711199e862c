"""Keeps out of the events what cannot be written as JSON again: above all, data nested too deeply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson

from mahavishnu_core.events import Event, Notice, Raw, ToolCall

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_CARRIERS = frozenset([Raw, ToolCall])
_WHY = "nested too deeply to be kept: see stdout.jsonl"


def writable(events: list[Event]) -> list[Event]:
    """The events, with a statement in the place of data that cannot be written."""
    carried = [_carried(event) for event in events if type(event) in _CARRIERS]
    if not carried or is_writable(carried):
        return events
    return [event if is_writable([_carried(event)]) else _stated(event) for event in events]


def is_writable(data: JSON) -> bool:
    """Whether JSON can be made of this, and of an event in which it lies."""
    try:
        # orjson refuses the 255th level, and Python's own recursion ends not much later
        orjson.dumps([[[[data]]]])
    except TypeError:
        return False
    return True


def _carried(event: Event) -> JSON:
    if isinstance(event, Raw):
        return event.data
    return event.input if isinstance(event, ToolCall) else None


def _stated(event: Event) -> Event:
    if isinstance(event, ToolCall):
        return msgspec.structs.replace(event, input=_WHY)
    return Notice("malformed", _WHY)
