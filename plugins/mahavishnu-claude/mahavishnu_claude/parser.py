"""Reads what Claude Code says in ``stream-json``, as seen in 2.1.197."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.events import Finished, Notice, Text, Thinking, Tokens, Usage
from mahavishnu_core.stream import StreamJsonParser, fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.events import Event
    from mahavishnu_core.models import JSON

_BY_TEXT = {"No conversation found with session ID": "session_lost", "Not logged in": "auth"}
_BY_STATUS = {401: "auth", 403: "auth", 429: "rate_limited"}
_BY_TROUBLE = {"authentication_failed": "auth", "oauth_org_not_allowed": "auth", "rate_limit": "rate_limited"}
_ASKED = (None, "human", "auto-continuation")
"""Origins of our own prompt and of what a command in it goes on with; others were read in 2.1.197, of which
``task-notification`` was seen."""

_LAST_MOMENT = 10**11
"""Beyond it lies no moment in seconds; milliseconds do."""


class ClaudeParser(StreamJsonParser):
    """One task of Claude Code.

    A ``result`` with an ``origin`` ends a turn that nobody asked for: when a command or a subagent in the
    background ends, claude tells the model, and what the model says then comes after the answer. Such a turn
    adds its text to an answer that succeeded; it never turns a failed answer into a success, nor a good one
    into a failure, and is no answer if there is none.
    """

    version_key = "claude_code_version"
    mode_key = "permissionMode"

    def __init__(self) -> None:
        super().__init__()
        self.types |= {
            "rate_limit_event": self._rate_limit,
            "keep_alive": self.nothing,
            "tool_progress": self.nothing,
        }
        self.subtypes |= {
            "api_retry": self._retry,
            "compact_boundary": _compacted,
            "hook_progress": self.nothing,
            "hook_response": self.nothing,
            "hook_started": self.nothing,
            "model_fallback": _other_model,
            "model_refusal_fallback": _other_model,
            "model_refusal_no_fallback": _other_model,
            "permission_denied": self._permission_denied,
            "session_state_changed": self.nothing,
            "status": self.nothing,
            "task_notification": _background_ended,
            "task_progress": _background_goes_on,
            "task_started": _background_started,
            "task_updated": self.nothing,
            "thinking_tokens": _thinks,
        }
        self._trouble: str | None = None
        self._answer: Finished | None = None
        self._cost: float | None = None
        self._settled = Tokens()  # by the last result
        self._streamed = Tokens()  # by the messages before this one
        self._message = Tokens()

    def bookkeeping(self, event: dict[str, JSON]) -> Iterable[Event]:
        """The tokens as they are spent: all that is known of a run that is ended before its result."""
        kind = event.get("type")
        if kind == "message_start":
            self._streamed, self._message = self._streamed + self._message, Tokens()
        elif kind == "message_delta":
            self._message = _of_turn(fields.record(event, "usage"))
            return (Usage(self._streamed + self._message, self._cost),)
        return ()

    def assistant(self, data: dict[str, JSON]) -> list[Event]:
        events = super().assistant(data)
        self._trouble = fields.text(data, "error")
        if self._trouble is None:
            return events
        # words of claude itself in the model's name: they come again as the error of the result
        return [Notice("error", event.text) if isinstance(event, Text) else event for event in events]

    def result(self, data: dict[str, JSON]) -> Iterable[Event]:
        if fields.text(fields.record(data, "origin"), "kind") in _ASKED:
            return super().result(data)
        return [*self.denials(data), self.usage(data), *self._unasked(super().finished(data))]

    def usage(self, data: dict[str, JSON]) -> Usage:
        """The total of the task.

        ``modelUsage`` and ``total_cost_usd`` count from the start of the process; ``usage`` counts the turn
        alone, without subagents and without answers that had to be asked for a second time.
        """
        models = fields.record(data, "modelUsage")
        if models:
            self._settled = sum((_of_model(models, name) for name in models), Tokens())
        else:
            self._settled = self._settled + _of_turn(fields.record(data, "usage"))
        self._streamed, self._message = self._settled, Tokens()
        self._cost = fields.number(data, "total_cost_usd")
        return Usage(self._settled, self._cost)

    def finished(self, data: dict[str, JSON]) -> Finished:
        self._answer = super().finished(data)
        return self._answer

    def reason(self, data: dict[str, JSON], error: str) -> str:
        if data.get("subtype") not in ("success", "error_during_execution"):
            return super().reason(data, error)
        if data.get("stop_reason") == "refusal":
            return "refusal"
        for text, reason in _BY_TEXT.items():
            if error.startswith(text):
                return reason
        status = fields.whole(data, "api_error_status") or 0
        return _BY_STATUS.get(status) or _BY_TROUBLE.get(self._trouble or "") or super().reason(data, error)

    def _unasked(self, later: Finished) -> Iterable[Event]:
        if not later.success:
            return (Notice("background", f"a turn after a background task failed: {later.error}"),)
        notice = Notice("background", "the conversation went on after a background task")
        if self._answer is None or not self._answer.success:
            return (notice,)
        texts = filter(None, (self._answer.text, later.text))
        turns = (self._answer.turns or 0) + (later.turns or 0)
        self._answer = Finished(True, text="\n\n".join(texts), turns=turns)
        return (notice, self._answer)

    def _retry(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._trouble = fields.text(data, "error")
        status = fields.whole(data, "error_status")
        why = (self._trouble or "unknown") + (f" ({status})" if status else "")
        attempt, most = fields.count(data, "attempt"), fields.count(data, "max_retries")
        seconds = (fields.number(data, "retry_delay_ms") or 0) / 1000
        yield Notice("retry", f"retry {attempt} of {most} in {seconds:.1f} s: {why}")

    def _rate_limit(self, data: dict[str, JSON]) -> Iterable[Event]:
        info = fields.record(data, "rate_limit_info")
        status = info.get("status")
        limit = (fields.text(info, "rateLimitType") or "usage").replace("_", " ") + " limit"
        if status == "rejected":
            self._trouble = "rate_limit"
            yield Notice("rate_limit", f"the {limit} is reached", _moment(info))
        elif status == "allowed_warning":
            used = fields.number(info, "utilization")
            share = "nearly all" if used is None else f"{used:.0%}"
            yield Notice("rate_limit_near", f"{share} of the {limit} is used", _moment(info))

    def _permission_denied(self, data: dict[str, JSON]) -> Iterable[Event]:
        return self.denied(data, fields.text(data, "message") or "not permitted")


def _moment(info: dict[str, JSON]) -> float | None:
    resets = fields.number(info, "resetsAt")
    return resets if resets and resets < _LAST_MOMENT else None


def _thinks(data: dict[str, JSON]) -> Iterable[Event]:
    """A sign of life where the thoughts themselves are not shown."""
    return (Thinking("", partial=True),)


def _compacted(data: dict[str, JSON]) -> Iterable[Event]:
    sizes = fields.record(data, "compact_metadata")
    before, after = fields.whole(sizes, "pre_tokens"), fields.whole(sizes, "post_tokens")
    return (Notice("compacted", f"the conversation was cut down from {before} to {after} tokens"),)


def _other_model(data: dict[str, JSON]) -> Iterable[Event]:
    original, other = fields.text(data, "original_model"), fields.text(data, "fallback_model")
    said = fields.text(data, "content")
    return (Notice("model", said or (f"{other} answers for {original}" if other else f"{original} refused")),)


def _background_started(data: dict[str, JSON]) -> Iterable[Event]:
    return (Notice("background", f"started: {fields.text(data, 'description') or ''}"),)


def _background_goes_on(data: dict[str, JSON]) -> Iterable[Event]:
    return (Notice("background", f"goes on: {fields.text(data, 'description') or ''}"),)


def _background_ended(data: dict[str, JSON]) -> Iterable[Event]:
    status = fields.text(data, "status") or "ended"
    return (Notice("background", f"{status}: {fields.text(data, 'summary') or ''}"),)


def _of_turn(usage: dict[str, JSON]) -> Tokens:
    return Tokens(
        fields.count(usage, "input_tokens"),
        fields.count(usage, "output_tokens"),
        fields.count(usage, "cache_read_input_tokens"),
        fields.count(usage, "cache_creation_input_tokens"),
    )


def _of_model(models: dict[str, JSON], name: str) -> Tokens:
    usage = fields.record(models, name)
    return Tokens(
        fields.count(usage, "inputTokens"),
        fields.count(usage, "outputTokens"),
        fields.count(usage, "cacheReadInputTokens"),
        fields.count(usage, "cacheCreationInputTokens"),
    )
