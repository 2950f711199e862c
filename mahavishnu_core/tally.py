"""What a task's events come to: sums and last words, for the live view, the verdict and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.events import (
    Event,
    Finished,
    Notice,
    Oversize,
    Progress,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.models import Cause

_TEXT_LIMIT = 16 * 1024 * 1024
"""Characters of an unfinished answer that are kept; the whole is in the task's output file."""
_ACTIVITY_LENGTH = 4096
"""Characters of the last words that are kept: far more than are shown, so that no secret is cut in those."""
_ERROR_LENGTH = 1000
"""Characters of an error that is kept though a later result decides."""
_BLOCK = 1024
"""Texts that are put together before the end: short ones take many times the memory of their characters."""


@attrs.define
class Tally:
    """A running account of one task."""

    keeps_text: bool = True
    """Whether the agent's texts are put together here, for a task that ends without a result."""
    events: int = 0
    started: Started | None = None
    usage: Usage | None = None
    tool_calls: int = 0
    finished: list[Finished] = attrs.field(factory=list)
    """All of them, those before the last without their texts."""
    retry_at: float | None = None
    awaits_permission: bool = False
    """Whether it has asked for a permission, and nothing has come since."""
    oversize: int = 0
    is_cut: bool = False
    """Whether a parser kept only a part of the text."""
    activity: str = ""
    """The last tool, words or progress, for the live view. Not made printable."""
    is_speaking: bool = False
    """Whether that is a piece of a text, which goes on."""
    _texts: _Texts = attrs.field(factory=lambda: _Texts("\n\n"))
    _pieces: _Texts = attrs.field(factory=lambda: _Texts(""))
    """Of a text that has not come whole yet."""
    _is_said_anew: bool = False
    """Whether the agent tries again, so that the next piece takes the place of those before."""

    @property
    def text(self) -> str:
        """What the worker's own agent has said so far, subagents left out, to the last piece that came."""
        unfinished = str(self._pieces)
        return self._texts.joint.join([*self._texts.parts(), unfinished]) if unfinished else str(self._texts)

    @property
    def last_word(self) -> Cause | None:
        """Why a command that says nothing more after this is ended, whatever its limits are."""
        if self.finished:
            return "after_result"
        return "permission" if self.awaits_permission else None

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events += 1
            self.awaits_permission = isinstance(event, Notice) and event.kind == "permission_request"
            self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case Text() | Thinking():
                self._note_words(event)
            case ToolCall():
                self.tool_calls += 1
                self.activity, self.is_speaking = event.name, False
            case Progress() if event.words:
                self.activity, self.is_speaking = event.words, False
            case Usage():
                self.usage = event
            case Notice():
                self._note_notice(event)
            case Started():
                self.started = self.started or event
            case Finished():
                self._note_end(event)
            case Oversize():
                self.oversize += 1

    def _note_words(self, event: Text | Thinking) -> None:
        if isinstance(event, Text) and event.text.strip():
            begun = self.activity if self.is_speaking and event.partial else ""
            self.activity = (begun + event.text)[-_ACTIVITY_LENGTH:]
            self.is_speaking = event.partial
        if not self.keeps_text or event.parent is not None or isinstance(event, Thinking):
            return
        if self._is_said_anew or not event.partial:
            self._drop_pieces()
        if self._texts.size + self._pieces.size + len(event.text) <= _TEXT_LIMIT:
            (self._pieces if event.partial else self._texts).add(event.text)

    def _drop_pieces(self) -> None:
        self._pieces = _Texts("")
        self._is_said_anew = False

    def _note_end(self, event: Finished) -> None:
        if self.finished:  # an agent may give results without end, each with megabytes of text
            earlier = self.finished.pop()
            error = earlier.error and earlier.error[:_ERROR_LENGTH]
            self.finished.append(Finished(earlier.success, None, error, earlier.reason, earlier.turns))
        self.finished.append(event)

    def _note_notice(self, notice: Notice) -> None:
        self._is_said_anew = self._is_said_anew or notice.kind == "retry"
        if notice.kind == "rate_limit":
            self.retry_at = notice.retry_at
        self.is_cut = self.is_cut or notice.kind == "cut"
        if notice.kind in {"retry", "rate_limit", "rate_limit_near"}:
            self.activity, self.is_speaking = notice.text, False


@attrs.define
class _Texts:
    """Texts on their way to one, with ``joint`` between them."""

    joint: str
    size: int = 0
    """Characters of all of them."""
    _blocks: list[str] = attrs.field(factory=list)
    _loose: list[str] = attrs.field(factory=list)

    def add(self, text: str) -> None:
        self.size += len(text)
        self._loose.append(text)
        if len(self._loose) == _BLOCK:
            self._blocks.append(self.joint.join(self._loose))
            self._loose.clear()

    def parts(self) -> list[str]:
        return [*self._blocks, *self._loose]

    def __str__(self) -> str:
        return self.joint.join(self.parts())
