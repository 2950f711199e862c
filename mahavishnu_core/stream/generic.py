"""Reads agents that have no parser of their own, by the words and end markers in common use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mahavishnu_core.events import Event, Finished, Raw, Text
from mahavishnu_core.stream.kept import KeptText
from mahavishnu_core.stream.parsers import ObjectParser

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON, Exit

_MAX_TEXT = 16 * 1024 * 1024
_SPEAKING = frozenset(["content", "delta", "message", "result", "text"])
_MARKING = frozenset(["choices", "done", "error", "finish_reason", "status"])
_TELLING = _SPEAKING | _MARKING
_END_TYPES = ("completion", "done", "result")
_MARKING_TYPES = (*_END_TYPES, "error")
# a turn that ends with the use of a tool is not the last one
_NO_END = ("function_call", "tool_calls", "tool_use")
_FAILED = ("cancelled", "canceled", "error", "failed", "failure")
_CUT = ("content_filter", "length")
"""Reasons to finish with half an answer."""
_FINE = (None, "success")
_NO_SUCCESS = ("error", *_CUT)
_TOOLS = ("tool", "tool_call", "tool_result", "tool_use")
_OTHERS = ("system", "tool", "user")


class GenericParser(ObjectParser):
    """Words, ends and errors as most agents write them; an object that says none of these is ``Raw``.

    Words that come in pieces are given once more when their message is whole. The text of an end is its
    ``result``, else all that was said since the end before it.
    """

    def __init__(self) -> None:
        self._message = KeptText(_MAX_TEXT, "")
        self._said = KeptText(_MAX_TEXT, "\n")
        self._answer = ""
        self._error = ""

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        is_marked = data.get("type") in _MARKING_TYPES
        if not is_marked and _TELLING.isdisjoint(data):  # as most are
            return (Raw(data),)
        if is_marked or not _MARKING.isdisjoint(data):
            return self._read_marked(data) or (Raw(data),)
        if not (words := _words(data) or _flat(data.get("result"))):
            return (Raw(data),)
        return self._say_piece(words) if "delta" in data else self._say(words)

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """The last words, and the last error where no end came after it."""
        yield from self._finish_message()
        if self._error:
            yield from self._finish({}, self._error)

    def _read_marked(self, data: dict[str, JSON]) -> list[Event]:
        turn = _turn(data)
        events: list[Event] = []
        if words := _words(turn):
            events += self._say_piece(words) if _is_piece(data, turn) else self._say(words)
        reason = turn.get("finish_reason") or data.get("finish_reason")
        error = _error(data, reason, words) if _has_failed(data, reason) else ""
        if _has_ended(data, reason):
            events += self._finish_message()
            events += self._finish(data, error)
        elif error:
            self._error = error
        return events

    def _say_piece(self, words: str) -> list[Event]:
        self._message.add(words)
        return [Text(words, partial=True)]

    def _say(self, words: str) -> list[Event]:
        events = [] if self._message.is_empty else self._finish_message(words)
        self._said.add(words)
        events.append(Text(words))
        return events

    def _finish_message(self, said_whole: str = "") -> list[Event]:
        if self._message.is_empty:
            return []
        events: list[Event] = [*self._message.notices()]
        words = self._message.take()
        if words != said_whole:
            self._said.add(words)
            events.append(Text(words))
        return events

    def _finish(self, data: dict[str, JSON], error: str) -> list[Event]:
        events: list[Event] = []
        if not self._said.is_empty:
            events += self._said.notices()
            self._answer = self._said.take()
        self._error = ""
        if error:
            reason = _reason(data.get("subtype"))
            events.append(Finished(success=False, text=self._answer, error=error, reason=reason))
        else:
            events.append(Finished(success=True, text=_flat(data.get("result")) or self._answer))
        return events


def _turn(data: dict[str, JSON]) -> dict[str, JSON]:
    """Where the words and the finish reason are: chunks as OpenAI sends them have these in a choice."""
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else data


def _is_piece(data: dict[str, JSON], turn: dict[str, JSON]) -> bool:
    return "delta" in turn or data.get("done") is False or turn.get("finish_reason", "") is None


def _has_ended(data: dict[str, JSON], reason: JSON) -> bool:
    kind = data.get("type")
    if kind in _END_TYPES or data.get("done") is True:
        return True
    if data.get("status") == "completed" and kind not in _TOOLS:
        return True
    return bool(reason) and reason not in _NO_END


def _has_failed(data: dict[str, JSON], reason: JSON) -> bool:
    subtype = data.get("subtype")
    return (
        data.get("is_error") is True
        or data.get("success") is False
        or bool(data.get("error"))
        or data.get("type") == "error"
        or ("status" in data and data["status"] in _FAILED)
        or (reason is not None and reason in _NO_SUCCESS)
        or (subtype not in _FINE and isinstance(subtype, str) and subtype.startswith(_FAILED))
    )


def _error(data: dict[str, JSON], reason: JSON, words: str) -> str:
    if reason in _CUT:
        return f"the answer is cut short: finish_reason {reason!r}"
    told = (_message(data.get("error")), _message(data.get("message")), _flat(data.get("result")), words)
    return next(filter(None, told), "the agent reported an error")


def _message(error: JSON) -> str:
    text = error.get("message") if isinstance(error, dict) else error
    return text if isinstance(text, str) else ""


def _reason(subtype: JSON) -> str:
    """``max_turns`` for the subtype ``error_max_turns``, else just ``error``."""
    return subtype[6:] if isinstance(subtype, str) and subtype.startswith("error_") else "error"


def _words(turn: dict[str, JSON]) -> str:
    """What the agent says in this object; other speakers' words are not the agent's."""
    part = turn.get("delta") or turn.get("message")
    if not isinstance(part, dict):
        part = turn
    if part.get("role") in _OTHERS or turn.get("role") in _OTHERS:
        return ""
    return _flat(part.get("text") or part.get("content")) or _flat(turn.get("text") or turn.get("content"))


def _flat(content: JSON) -> str:
    if isinstance(content, list):
        texts = [block.get("text") for block in content if isinstance(block, dict)]
        return "\n".join([text for text in texts if isinstance(text, str)])
    return content if isinstance(content, str) else ""
