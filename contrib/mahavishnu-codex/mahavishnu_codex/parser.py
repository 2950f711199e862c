"""Reads what ``codex exec --json`` says, as seen in codex 0.171.0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mahavishnu_core.events import (
    Finished,
    Notice,
    Raw,
    Started,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.stream import ObjectParser, decode, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mahavishnu_core import Exit
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

_LOST = "no rollout found for thread id"
_RETRY = "Reconnecting..."
_STATUS = re.compile(r"status:? (?P<status>[45]\d\d)\b")
_BY_STATUS = {"401": "auth", "403": "auth", "429": "rate_limited"}
_NO_ACCOUNT = "Missing environment variable"

_TOOLS = ("command_execution", "file_change", "mcp_tool_call", "web_search", "collab_tool_call")
"""Items that are the use of a tool. The first two were seen, the others are in codex's documents."""
_FAILED = ("failed", "declined")
_OUTCOME = ("aggregated_output", "exit_code", "status", "result", "error")
"""Fields of such an item that tell what came of it; the rest is what it was given."""


class CodexParser(ObjectParser):
    """One task of Codex. ``resumed``: whether it goes on with the conversation of an earlier process.

    ``turn.completed`` and ``turn.failed`` are its ends, and nothing else is. Its answer is the message of the
    agent that came last.
    """

    def __init__(self, resumed: bool = False) -> None:
        self._readers: dict[str, Callable[[dict[str, JSON]], Iterable[Event]]] = {
            "thread.started": _started,
            "turn.started": _nothing,
            "turn.completed": self._completed,
            "turn.failed": self._failed,
            "item.started": self._item,
            "item.updated": _nothing,
            "item.completed": self._item_completed,
            "error": self._error,
        }
        self._resumed = resumed
        self._answer: str | None = None
        self._last_error: str | None = None
        self._has_ended = False
        self._begun: set[str] = set()
        """The ids of the tool calls that were told."""

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        reader = self._readers.get(fields.text(data, "type") or "")
        return reader(data) if reader else (Raw(data),)

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """What codex says on standard error alone, or before it broke off."""
        if self._has_ended:
            return
        lost = next((line for line in stderr.split("\n") if _LOST in line), None)
        if lost:
            yield Finished(False, error=lost, reason="session_lost")
        elif self._last_error:
            yield _failure(self._last_error, self._answer)

    def _completed(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._has_ended = True
        if not self._resumed:
            # of a resumed conversation it is the sum since its first turn, which was in an earlier process
            yield Usage(_tokens(fields.record(data, "usage")))
        yield Finished(True, text=self._answer)

    def _failed(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._has_ended = True
        error = fields.text(fields.record(data, "error"), "message") or self._last_error or "the turn failed"
        return (_failure(error, self._answer),)

    def _error(self, data: dict[str, JSON]) -> Iterable[Event]:
        said = fields.text(data, "message") or ""
        if said.startswith(_RETRY):
            return (Notice("retry", said),)
        self._last_error = said
        return (Notice("error", _plain(said)),)

    def _item(self, data: dict[str, JSON]) -> list[Event]:
        """An item that has begun; only the use of a tool says something then."""
        item = fields.record(data, "item")
        kind, call = fields.text(item, "type") or "", fields.text(item, "id") or ""
        if kind not in _TOOLS or call in self._begun:
            return []
        self._begun.add(call)
        name = fields.text(item, "tool") or kind
        given: dict[str, JSON] = {
            key: value for key, value in item.items() if key not in ("id", "type", *_OUTCOME)
        }
        return [ToolCall(call, name, given)]

    def _item_completed(self, data: dict[str, JSON]) -> Iterable[Event]:
        item = fields.record(data, "item")
        kind, words = fields.text(item, "type") or "", fields.text(item, "text")
        if kind in _TOOLS:
            return [*self._item(data), _result(item)]
        if kind == "agent_message" and words is not None:
            self._answer = words
            return (Text(words),)
        if kind == "reasoning" and words is not None:
            return (Thinking(words),)
        if kind == "error":
            return (Notice("error", fields.text(item, "message") or ""),)
        return () if kind == "todo_list" else (Raw(data),)


def _started(data: dict[str, JSON]) -> Iterable[Event]:
    return (Started(fields.text(data, "thread_id")),)


def _nothing(data: dict[str, JSON]) -> Iterable[Event]:
    return ()


def _result(item: dict[str, JSON]) -> Event:
    said = fields.text(item, "aggregated_output") or fields.text(fields.record(item, "error"), "message")
    content = fields.records(fields.record(item, "result"), "content")
    shown = said or "\n".join(fields.text(part, "text") or "" for part in content)
    status = fields.text(item, "status") or ""
    return ToolResult(fields.text(item, "id") or "", shown or status, status in _FAILED)


def _failure(error: str, answer: str | None) -> Finished:
    status = _STATUS.search(error)
    reason = _BY_STATUS.get(status["status"], "api_error") if status else "api_error"
    if error.startswith(_NO_ACCOUNT):
        reason = "auth"
    return Finished(False, text=answer, error=_plain(error), reason=reason)


def _plain(error: str) -> str:
    """The message in an error that is the vendor's answer as it came, as after status 400."""
    answer = decode(error.encode("utf-8", "replace"))
    told = fields.record(answer, "error") if isinstance(answer, dict) else {}
    return fields.text(told, "message") or error


def _tokens(usage: dict[str, JSON]) -> Tokens:
    cached = fields.count(usage, "cached_input_tokens")
    written = fields.count(usage, "cache_write_input_tokens")
    # input_tokens has the cached ones in it, as OpenAI counts; reasoning is a part of output_tokens
    fresh = max(0, fields.count(usage, "input_tokens") - cached - written)
    return Tokens(fresh, fields.count(usage, "output_tokens"), cached, written)
