"""Reads what ``opencode run --format json`` says, as seen in opencode 1.18.33."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mahavishnu_core.events import (
    Finished,
    Raw,
    Started,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.stream import ObjectParser, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mahavishnu_core import Exit
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_LOST = "Session not found"
_REFUSED = "auto-rejecting"
_BY_STATUS = {401: "auth", 403: "auth", 429: "rate_limited"}
_BY_NAME = {
    "ContentFilterError": "refusal",
    "MessageOutputLengthError": "max_tokens",
    "ProviderAuthError": "auth",
}
"""Errors that say by their name what they are; the first was seen, the others were read in opencode."""

_DEAREST = 1e9
"""So that a sum of costs can be written as JSON, whatever they were."""


class OpenCodeParser(ObjectParser):
    """One task of OpenCode, which prints no end of its own: a success is decided in ``end``.

    It takes an exit status of 0, no ``error``, and a last step that ended with ``stop``: with a tool refused
    opencode leaves with status 0 in the middle of its work, after a step that ended with ``tool-calls``.
    """

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[dict[str, JSON]], Iterable[Event]]] = {
            "step_start": self._step_start,
            "text": self._text,
            "reasoning": _reasoning,
            "tool_use": _tool_use,
            "step_finish": self._step_finish,
            "error": self._error,
        }
        self._is_started = False
        self._step: list[str] = []
        """The texts of the last step, whose are the answer."""
        self._ended_by: str | None = None
        """Why the last step ended; None while it lasts."""
        self._tokens = Tokens()
        self._cost = 0.0
        self._failure: Finished | None = None

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        reader = self._readers.get(fields.text(data, "type") or "")
        return [*self._started(data), *(reader(data) if reader else (Raw(data),))]

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """The verdict, unless an ``error`` gave it."""
        if self._failure is not None:
            return
        lines = _COLOURS.sub("", stderr).split("\n")
        if lost := next((line for line in lines if line.endswith(_LOST)), None):
            yield Finished(False, error=lost, reason="session_lost")
        elif exit.is_clean and self._ended_by is not None:
            yield self._verdict(lines)

    def _verdict(self, lines: list[str]) -> Finished:
        text = "\n\n".join(self._step)
        if self._ended_by == "stop":
            return Finished(True, text=text)
        if refused := next((line for line in lines if _REFUSED in line), None):
            return Finished(False, text=text, error=refused, reason="needs_permission")
        error = f"its last step ended with {self._ended_by!r}, which is no answer"
        return Finished(False, text=text, error=error, reason="unfinished")

    def _started(self, data: dict[str, JSON]) -> Iterable[Event]:
        """There is no event for it: every line names the session. The model is not told."""
        session = fields.text(data, "sessionID")
        if self._is_started or session is None:
            return ()
        self._is_started = True
        return (Started(session),)

    def _step_start(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._step.clear()
        self._ended_by = None
        return ()

    def _text(self, data: dict[str, JSON]) -> Iterable[Event]:
        words = fields.text(fields.record(data, "part"), "text")
        if words is None:
            return (Raw(data),)
        self._step.append(words)
        return (Text(words),)

    def _step_finish(self, data: dict[str, JSON]) -> Iterable[Event]:
        part = fields.record(data, "part")
        self._ended_by = fields.text(part, "reason") or "nothing"
        self._tokens = self._tokens + _tokens(fields.record(part, "tokens"))
        self._cost = min(self._cost + (fields.number(part, "cost") or 0.0), _DEAREST)
        # opencode counts 0 where it does not know the price of a model: that is no cost of nothing
        return (Usage(self._tokens, self._cost or None),)

    def _error(self, data: dict[str, JSON]) -> Iterable[Event]:
        """An error ends the task (1.18.33 tries again in silence before, and leaves with status 1 after)."""
        error = fields.record(data, "error")
        told, name = fields.record(error, "data"), fields.text(error, "name") or "error"
        message = fields.text(told, "message") or name
        status = fields.count(told, "statusCode")
        reason = _BY_NAME.get(name) or _BY_STATUS.get(status, "api_error")
        self._failure = Finished(False, text="\n\n".join(self._step) or None, error=message, reason=reason)
        return (self._failure,)


def _reasoning(data: dict[str, JSON]) -> Iterable[Event]:
    words = fields.text(fields.record(data, "part"), "text")
    return (Raw(data),) if words is None else (Thinking(words),)


def _tool_use(data: dict[str, JSON]) -> Iterable[Event]:
    """A call and its result, which come together when the tool has ended."""
    part = fields.record(data, "part")
    state = fields.record(part, "state")
    call, name = fields.text(part, "callID") or "", fields.text(part, "tool") or ""
    failed = state.get("status") != "completed"
    said = fields.text(state, "error" if failed else "output") or ""
    return (ToolCall(call, name, state.get("input")), ToolResult(call, said, failed))


def _tokens(tokens: dict[str, JSON]) -> Tokens:
    cache = fields.record(tokens, "cache")
    output = fields.count(tokens, "output") + fields.count(tokens, "reasoning")
    read, written = fields.count(cache, "read"), fields.count(cache, "write")
    return Tokens(fields.count(tokens, "input"), output, read, written)
