"""Reads what claude and qwen have in common: ``stream-json``, one message or piece of a message a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, Text, Thinking, ToolCall, ToolResult
from mahavishnu_core.stream import fields
from mahavishnu_core.stream.parsers import ObjectParser

if TYPE_CHECKING:
    from mahavishnu_core.events import Usage
    from mahavishnu_core.models import JSON

Reader: TypeAlias = "Callable[[dict[str, JSON]], Iterable[Event]]"
_Maker: TypeAlias = "Callable[[dict[str, JSON], str | None], Event | None]"

_BY_SUBTYPE = {
    "success": "api_error",  # only with is_error: claude says so of every failed request
    "error_max_turns": "max_turns",
    "error_max_budget_usd": "max_budget",
}


class StreamJsonParser(ObjectParser):
    """Base of the parsers of agents that print ``stream-json``: write ``usage``, and what is special to them.

    ``types`` and ``subtypes`` (of ``type: system``) hold the reader of each kind of line: add to them in
    ``__init__``. A line that has none becomes ``Raw``. ``result`` is the end of a turn, and nothing else is.
    """

    version_key: ClassVar[str] = "version"
    mode_key: ClassVar[str] = "permission_mode"
    """Where the line ``system/init`` has the program's version and its permission mode."""

    def __init__(self) -> None:
        self.types: dict[str, Reader] = {
            "stream_event": self.piece,
            "assistant": self.assistant,
            "user": self._user,
            "system": self._system,
            "result": self.result,
            "control_request": self._control_request,
            "control_response": self.nothing,
            "control_cancel_request": self.nothing,
        }
        self.subtypes: dict[str, Reader] = {"init": self._init}
        self._started: Started | None = None
        self._denied: set[str] = set()

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        try:
            reader = self.types[data["type"]]  # type: ignore[index]  # of whatever type: it is no key then
        except (KeyError, TypeError):
            return (Raw(data),)
        return reader(data)

    def piece(self, data: dict[str, JSON]) -> Iterable[Event]:
        """A ``stream_event``: a piece of a text that follows whole, or bookkeeping, which is no event."""
        try:  # nearly every line of a long answer is this one
            words = data["event"]["delta"]["text"]  # type: ignore[index,call-overload]  # else it has none
        except (KeyError, TypeError):
            return self._wordless_piece(data)
        if not isinstance(words, str):
            return self._wordless_piece(data)
        parent = data.get("parent_tool_use_id")
        return (Text(words, True, parent if isinstance(parent, str) else None),)

    def _wordless_piece(self, data: dict[str, JSON]) -> Iterable[Event]:
        event = data.get("event")
        if not isinstance(event, dict):
            return (Raw(data),)
        thoughts = fields.text(fields.record(event, "delta"), "thinking")
        if thoughts is not None:
            return (Thinking(thoughts, True, fields.text(data, "parent_tool_use_id")),)
        return self.bookkeeping(event)

    def bookkeeping(self, event: dict[str, JSON]) -> Iterable[Event]:
        """A piece that holds no words."""
        return ()

    def assistant(self, data: dict[str, JSON]) -> list[Event]:
        """A message of the model, or of a subagent's."""
        return _blocks(data, _ASSISTANT)

    def result(self, data: dict[str, JSON]) -> Iterable[Event]:
        """The end of a turn."""
        return [*self.denials(data), self.usage(data), self.finished(data)]

    def usage(self, data: dict[str, JSON]) -> Usage:
        """What the task has used so far, by a ``result``."""
        raise NotImplementedError

    def finished(self, data: dict[str, JSON]) -> Finished:
        """The verdict of a ``result``. Success is ``subtype: success`` without ``is_error``."""
        turns = fields.whole(data, "num_turns")
        if data.get("subtype") == "success" and data.get("is_error") in (False, None):
            return Finished(True, text=fields.text(data, "result"), turns=turns)
        error = _error(data)
        return Finished(False, error=error, reason=self.reason(data, error), turns=turns)

    def reason(self, data: dict[str, JSON], error: str) -> str:
        """One word for why a ``result`` is none of success."""
        return _BY_SUBTYPE.get(fields.text(data, "subtype") or "", "execution_error")

    def denials(self, data: dict[str, JSON]) -> list[Event]:
        """The tools that a ``result`` says were refused, but for those that were told of when it happened."""
        if not data.get("permission_denials"):  # nearly always
            return []
        refused = fields.records(data, "permission_denials")
        return [event for denial in refused for event in self.denied(denial, "not permitted")]

    def denied(self, data: dict[str, JSON], why: str) -> Iterable[Event]:
        """That a tool was refused, once for each call."""
        call = fields.text(data, "tool_use_id") or ""
        if call in self._denied:
            return ()
        self._denied.add(call)
        tool = fields.text(data, "tool_name") or "a tool"
        return (Notice("permission_denied", f"{tool}: {why}"),)

    @staticmethod
    def nothing(data: dict[str, JSON]) -> Iterable[Event]:
        """The reader of a line that is known and says nothing worth an event."""
        return ()

    def _user(self, data: dict[str, JSON]) -> list[Event]:
        return _blocks(data, _USER)

    def _system(self, data: dict[str, JSON]) -> Iterable[Event]:
        reader = self.subtypes.get(fields.text(data, "subtype") or "")
        return reader(data) if reader else (Raw(data),)

    def _init(self, data: dict[str, JSON]) -> Iterable[Event]:
        started = Started(
            fields.text(data, "session_id"),
            fields.text(data, "model"),
            fields.text(data, self.version_key),
            fields.text(data, self.mode_key),
        )
        if started == self._started:  # comes again with each turn
            return ()
        self._started = started
        return (started,)

    def _control_request(self, data: dict[str, JSON]) -> Iterable[Event]:
        request = fields.record(data, "request")
        if request.get("subtype") != "can_use_tool":
            return (Raw(data),)
        tool = fields.text(request, "tool_name") or "a tool"
        return (Notice("permission_request", f"{tool}: waits to be allowed"),)


def _error(data: dict[str, JSON]) -> str:
    said = fields.text(data, "result") or "\n".join(fields.texts(data, "errors"))
    said = said or fields.text(fields.record(data, "error"), "message") or ""
    return said or f"ended with {fields.text(data, 'subtype') or 'an unreadable result'}"


def _blocks(data: dict[str, JSON], makers: Mapping[str, _Maker]) -> list[Event]:
    content = fields.record(data, "message").get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return [Raw(data)]
    parent = fields.text(data, "parent_tool_use_id")
    events: list[Event] = []
    is_known = True
    for item in content:
        block = item if isinstance(item, dict) else {}
        maker = makers.get(fields.text(block, "type") or "")
        if maker is None:
            is_known = False
        elif event := maker(block, parent):
            events.append(event)
    return events if is_known else [*events, Raw(data)]


def _text(block: dict[str, JSON], parent: str | None) -> Event | None:
    words = fields.text(block, "text")
    return Text(words, False, parent) if words else None


def _thinking(block: dict[str, JSON], parent: str | None) -> Event | None:
    words = fields.text(block, "thinking")
    return Thinking(words, False, parent) if words else None


def _tool_call(block: dict[str, JSON], parent: str | None) -> Event:
    call, name = fields.text(block, "id") or "", fields.text(block, "name") or ""
    return ToolCall(call, name, block.get("input"), parent)


def _tool_result(block: dict[str, JSON], parent: str | None) -> Event:
    content = block.get("content")
    words = content if isinstance(content, str) else "\n".join(map(_shown, fields.records(block, "content")))
    return ToolResult(fields.text(block, "tool_use_id") or "", words, block.get("is_error") is True, parent)


def _shown(part: dict[str, JSON]) -> str:
    """A part of a tool's answer as text; ``[image]`` for what is none."""
    words = fields.text(part, "text")
    return f"[{fields.text(part, 'type') or 'unknown'}]" if words is None else words


def _skipped(block: dict[str, JSON], parent: str | None) -> None:
    return None


_ASSISTANT: dict[str, _Maker] = {
    "text": _text,
    "thinking": _thinking,
    "redacted_thinking": _skipped,
    "tool_use": _tool_call,
}
# texts of a user message are prompts of subagents, echoes and nudges, not words of the agent
_USER: dict[str, _Maker] = {"tool_result": _tool_result, "text": _skipped, "image": _skipped}
