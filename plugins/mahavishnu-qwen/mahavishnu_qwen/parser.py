"""Reads what Qwen Code says in ``stream-json``, as seen in 0.15.10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.events import Finished, Notice, Tokens, Usage
from mahavishnu_core.stream import StreamJsonParser, fields
from mahavishnu_qwen.api_errors import find_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Exit
    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

_BY_EXIT = {41: "auth", 53: "max_turns"}
"""Exit statuses that stand for a reason; 41 was read in the code, not seen."""

_LOST = "No saved session found"
_NO_ACCOUNT = ("No auth type is selected", "Missing API key")


class QwenParser(StreamJsonParser):
    """One task of Qwen Code. ``resumed``: whether it goes on with the conversation of an earlier process."""

    version_key = "qwen_code_version"

    def __init__(self, resumed: bool = False) -> None:
        super().__init__()
        self.subtypes |= {"task_started": _background_started, "task_notification": _background_ended}
        self._resumed = resumed
        self._message = Tokens()
        self._total = Tokens()
        self._has_result = False

    def assistant(self, data: dict[str, JSON]) -> list[Event]:
        events = super().assistant(data)
        if data.get("parent_tool_use_id") is not None:
            return events
        self._message = _tokens(fields.record(fields.record(data, "message"), "usage"))
        if self._message.total:
            self._total = self._total + self._message
            events.append(Usage(self._total))
        return events

    def usage(self, data: dict[str, JSON]) -> Usage:
        """The total of the task; qwen reports no cost.

        ``usage`` of a result counts from the start of the conversation, which for a resumed one is in an
        earlier process. Then the sum over the answers stands, which leaves out subagents and qwen's own
        requests in the background.
        """
        if not self._resumed:
            self._total = _tokens(fields.record(data, "usage"))
        return Usage(self._total)

    def finished(self, data: dict[str, JSON]) -> Finished:
        self._has_result = True
        finished = super().finished(data)
        if not finished.success:
            return finished
        found = find_error(finished.text or "", used_tokens=bool(self._message.total))
        if found is None:
            return finished
        return Finished(False, found.text, found.error, found.reason, finished.turns)

    def reason(self, data: dict[str, JSON], error: str) -> str:
        return "auth" if error.startswith(_NO_ACCOUNT) else super().reason(data, error)

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        """The reasons that qwen gives by its exit status and standard error alone."""
        if self._has_result:
            return
        lines = [line for line in stderr.split("\n") if line.strip()]
        lost = next((line for line in lines if line.startswith(_LOST)), None)
        if lost:
            yield Finished(False, error=lost, reason="session_lost")
        elif exit.exit_code in _BY_EXIT:
            error = lines[-1] if lines else f"exit status {exit.exit_code}"
            yield Finished(False, error=error, reason=_BY_EXIT[exit.exit_code])


def _background_started(data: dict[str, JSON]) -> Iterable[Event]:
    started = fields.record(data, "data")
    return (Notice("background", f"started: {fields.text(started, 'description') or ''}"),)


def _background_ended(data: dict[str, JSON]) -> Iterable[Event]:
    ended = fields.record(data, "data")
    status, task = fields.text(ended, "status") or "ended", fields.text(ended, "task_id") or ""
    return (Notice("background", f"{status}: {task}"),)


def _tokens(usage: dict[str, JSON]) -> Tokens:
    cached = fields.count(usage, "cache_read_input_tokens")
    # input_tokens has the cached ones in it, as OpenAI counts
    fresh = max(0, fields.count(usage, "input_tokens") - cached)
    return Tokens(fresh, fields.count(usage, "output_tokens"), cached)
