"""Reads what the watcher puts out: the lines of the window are its words, all else are notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, Text
from mahavishnu_debug_monitor import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mahavishnu_core import Exit
    from mahavishnu_core.models import JSON


@attrs.define(eq=False)
class Reader:
    """The parser of the agent ``debug-monitor``."""

    _worker_id: str
    _lines: int = 0

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterator[Event]:
        for line in lines:
            if not isinstance(line, dict):
                yield Notice("noise", line)
                continue
            event = _event(line)
            self._lines += isinstance(event, Text)
            yield event
            if line.get("type") == wire.WINDOW:
                yield Started(session_id=None)

    def end(self, exit: Exit, stderr: str) -> Iterator[Event]:
        """It ends when it is closed, or its window is; by itself it never does."""
        lines = "1 line" if self._lines == 1 else f"{self._lines} lines"
        text = f"{lines}: see them with 'mahavishnu workers logs {self._worker_id}'"
        if exit.cause == "cancelled":
            yield Finished(success=False, text=text, reason="cancelled")
        else:
            yield Finished(success=False, text=text, error="its watcher was lost", reason="watcher")


def _event(record: dict[str, JSON]) -> Event:
    match record:
        case {"type": wire.LINE, "text": str(text)}:
            return Text(text)
        case {"type": wire.WINDOW, "access": str(access), "refusals": list(refusals)}:
            because = f" ({'; '.join(map(str, refusals))})" if refusals else ""
            return Notice("window", access + because)
        case {"type": wire.MISSING, "count": int(count)}:
            lines = "1 line is" if count == 1 else f"{count} lines are"
            return Notice("missing", f"at least {lines} missing here")
        case {"type": wire.STORED, "storages": dict(storages)}:
            return Notice("stored", _where(storages))
        case {"type": wire.GONE, "reason": str(reason)}:
            return Notice("gone", reason)
    return Raw(record)


def _where(storages: dict[str, JSON]) -> str:
    keeping = [name for name, reason in storages.items() if reason is None]
    failing = [f"{name} cannot: {reason}" for name, reason in storages.items() if reason is not None]
    return "; ".join([f"its lines go to {', '.join(keeping) or 'no storage'}", *failing])
