"""What the watcher puts out, a JSON object a line; ``parser`` reads it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mahavishnu_core.models import JSON

WINDOW, LINE, MISSING, STORED, GONE = "window", "line", "missing", "stored", "gone"
"""The values of ``type``."""


def window(access: str, refusals: Sequence[str]) -> bytes:
    """How to get to see the window, and why it is none of those that would have been better."""
    return _line({"type": WINDOW, "access": access, "refusals": [*refusals]})


def line(number: int, text: str) -> bytes:
    """One line that the window has shown."""
    return _line({"type": LINE, "number": number, "text": text})


def missing(first: int, count: int) -> bytes:
    """Lines that it has shown and nobody saw, at least so many."""
    return _line({"type": MISSING, "first": first, "count": count})


def stored(outcome: Mapping[str, str | None]) -> bytes:
    """Where lines are kept from now on: storages by name, with the reason where one cannot."""
    return _line({"type": STORED, "storages": dict(outcome)})


def gone(reason: str) -> bytes:
    """The window is not there any more."""
    return _line({"type": GONE, "reason": reason})


def _line(record: dict[str, JSON]) -> bytes:
    return json.dumps(record).encode() + b"\n"
