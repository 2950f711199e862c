"""What an observer does with events: it takes them all, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from mahavishnu_core.events import (
    Event,
    Finished,
    Notice,
    Oversize,
    Progress,
    Raw,
    Started,
    TaskEvent,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.testing.contract.row import Row, require

if TYPE_CHECKING:
    from mahavishnu_core.testing.contract.subject import Subject

_ODD = "\x1b[31m \0 \udc80 \u202e" + "x" * 10_000
EVENTS: tuple[Event, ...] = (
    Started("s", "m", "1", "plan"), Started(None), Text("words"), Text("", True, "t"), Text(_ODD, parent="t"),
    Thinking("hm"), ToolCall("1", "Bash", {"command": "ls"}), ToolCall("", "", None),
    ToolResult("1", _ODD, is_error=True), Usage(Tokens(1, 2, 3, 4), 0.1), Usage(Tokens()),
    Notice("retry", "again", 1e9), Oversize(10**9, _ODD), Raw({"type": [None, {"deep": [[[1e308]]]}]}),
    Progress(), Progress(_ODD, 0.4), Finished(True, "done"), Finished(False, None, _ODD, "error", 3),
)  # fmt: skip
_LONGEST = 1.0


def rows(subject: Subject) -> Iterator[Row]:
    if "monitor" in subject.hooks:
        yield Row(
            "observer: events",
            "it takes every kind of event, and none for longer than a second",
            partial(_takes_all, subject),
        )


def _takes_all(subject: Subject) -> str:
    longest = 0.0
    for seq, event in enumerate(EVENTS * 20, 1):
        began = time.monotonic()
        subject.host.ask("monitor", event=TaskEvent("w", "w.1", seq, event))
        longest = max(longest, time.monotonic() - began)
    require(longest < _LONGEST, f"it took {longest:.1f} s over one event")
    return f"{len(EVENTS) * 20} events"
