"""Reads what Gemini CLI says in ``stream-json``, as seen in gemini 0.61.0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mahavishnu_core.events import Finished, Notice, Raw, Started, Text, Tokens, ToolCall, ToolResult, Usage
from mahavishnu_core.stream import ObjectParser, decode, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mahavishnu_core import Exit
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

_LOST = "Error resuming session"
_CHATTER = ("YOLO mode is enabled", "Warning: ", "Ripgrep is not available", "[STARTUP]")
"""How lines on standard error begin that gemini writes in every run, or in most."""

_API_ERROR = re.compile(
    r"\[API Error: (?P<error>.*)\](?P<advice>\nPlease wait and try again later[^\n]*)?\s*\Z", re.DOTALL
)
"""Advice follows where the status was 429, and nothing else tells that then."""
_BY_CODE = {401: "auth", 403: "auth", 429: "rate_limited"}
_BY_TYPE = {"FatalAuthenticationError": "auth", "FatalTurnLimitedError": "max_turns"}
_BY_EXIT = {41: "auth", 53: "max_turns"}
"""Exit statuses that stand for a reason, for an end without a ``result``; 53 is in gemini's documents."""


class GeminiParser(ObjectParser):
    """One task of Gemini CLI. ``result`` is its end, and nothing else is.

    Its answer comes in pieces alone: the whole text is told when something else follows them. Where gemini
    begins an answer anew, since the connection broke, the pieces of both come without a word between them.
    """

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[dict[str, JSON]], Iterable[Event]]] = {
            "init": _started,
            "message": self._message,
            "tool_use": self._tool_use,
            "tool_result": _tool_result,
            "error": self._error,
            "result": self._result,
        }
        self._pieces: list[str] = []
        self._answer: str | None = None
        self._last_error: str | None = None
        self._has_result = False

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        reader = self._readers.get(fields.text(data, "type") or "")
        return reader(data) if reader else (Raw(data),)

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """The reasons that gemini gives by its exit status and standard error alone."""
        if self._has_result:
            return
        lines = [line for line in stderr.split("\n") if line.strip() and not line.startswith(_CHATTER)]
        lost = next((line for line in lines if line.startswith(_LOST)), None)
        if lost:
            yield Finished(False, error=lost, reason="session_lost")
        elif exit.exit_code in _BY_EXIT:
            error = "\n".join(lines) or f"exit status {exit.exit_code}"
            yield Finished(False, error=error, reason=_BY_EXIT[exit.exit_code])

    def _message(self, data: dict[str, JSON]) -> Iterable[Event]:
        words = fields.text(data, "content")
        if data.get("role") == "user":
            return ()
        if data.get("role") != "assistant" or words is None:
            return (Raw(data),)
        self._pieces.append(words)
        return (Text(words, partial=True),) if data.get("delta") is True else self._whole()

    def _tool_use(self, data: dict[str, JSON]) -> Iterable[Event]:
        call, name = fields.text(data, "tool_id") or "", fields.text(data, "tool_name") or ""
        return (*self._whole(), ToolCall(call, name, data.get("parameters")))

    def _error(self, data: dict[str, JSON]) -> Iterable[Event]:
        said = fields.text(data, "message") or ""
        if data.get("severity") == "error":
            self._last_error = said
        return (Notice("error", said),)

    def _result(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._has_result = True
        yield from self._whole()
        yield Usage(_tokens(fields.record(data, "stats")))
        if data.get("status") == "success":
            yield Finished(True, text=self._answer)
        else:
            yield self._failure(fields.record(data, "error"))

    def _failure(self, error: dict[str, JSON]) -> Finished:
        """A failed ``result``; after an answer that is none, only the ``error`` before it says why."""
        said = fields.text(error, "message") or self._last_error or "the result is none of success"
        message, code = _api_error(said)
        reason = _BY_TYPE.get(fields.text(error, "type") or "") or _BY_CODE.get(code, "api_error")
        return Finished(False, text=self._answer, error=message, reason=reason)

    def _whole(self) -> list[Event]:
        """The text that the pieces so far make up."""
        words = "".join(self._pieces)
        self._pieces.clear()
        if not words:
            return []
        self._answer = words
        return [Text(words)]


def _started(data: dict[str, JSON]) -> Iterable[Event]:
    return (Started(fields.text(data, "session_id"), fields.text(data, "model")),)


def _tool_result(data: dict[str, JSON]) -> Iterable[Event]:
    call, failed = fields.text(data, "tool_id") or "", data.get("status") != "success"
    said = fields.text(data, "output") or fields.text(fields.record(data, "error"), "message") or ""
    return (ToolResult(call, said, failed),)


def _api_error(said: str) -> tuple[str, int]:
    """The message and the status in ``[API Error: …]`` around the vendor's answer; else all of it, and 0."""
    found = _API_ERROR.match(said)
    if found is None:
        return said, 0
    if found["advice"]:
        return found["error"], 429
    answer = decode(found["error"].encode("utf-8", "replace"))
    told = fields.record(answer, "error") if isinstance(answer, dict) else {}
    return fields.text(told, "message") or found["error"], fields.count(told, "code")


def _tokens(stats: dict[str, JSON]) -> Tokens:
    """``input`` of the statistics is without the cached ones, ``input_tokens`` with them."""
    return Tokens(
        fields.count(stats, "input"), fields.count(stats, "output_tokens"), fields.count(stats, "cached")
    )
