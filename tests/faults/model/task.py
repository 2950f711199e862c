"""A task as the model has it, how it may end, and what its result is to say then."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.models import JSON

Kind: TypeAlias = Literal["text", "success", "failure"]

BY_CANCEL = frozenset({"cancelled", "cancelled before it was started"})
BY_LOSS = frozenset({"its engine ended before it could be started"})


@attrs.frozen
class Saying:
    """One line of an agent, which is one event: some words, or its own word that it has ended."""

    kind: Kind
    words: str

    @property
    def line(self) -> dict[str, JSON]:
        if self.kind == "text":
            return {"text": self.words}
        return {"type": "result", "result": self.words, "is_error": self.kind == "failure"}

    def is_told_as(self, event: Mapping[str, JSON]) -> bool:
        if self.kind == "text":
            return (event["type"], event["text"]) == ("text", self.words)
        is_success = self.kind == "success"
        said = event["text"] if is_success else event["error"]
        return (event["type"], event["success"], said) == ("finished", is_success, self.words)


class Phase(enum.Enum):
    WAITING = "for a slot of its engine's"
    QUEUED = "at the keeper"
    LOST = "nobody will begin it"
    RUNNING = "its agent is up"
    OVER = "its agent is gone, or will never come"


@attrs.frozen
class Left:
    """The agent ended by itself."""

    code: int
    is_seen: bool
    """Whether its keeper lived to see it."""


@attrs.frozen
class Ended:
    """Somebody cancelled it. ``words`` are those that fit, of which one is given."""

    words: frozenset[str]
    signal: str | None = None
    """What ended its agent, where there was one and its keeper lived to see it."""
    code: int | None = None
    """With what its agent was about to exit anyway."""


End: TypeAlias = Left | Ended


@attrs.frozen
class Verdict:
    """What a result is to say."""

    status: WorkerStatus
    reason: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    errors: frozenset[str | None] = frozenset({None})
    warnings: frozenset[str] = frozenset()

    def is_of(self, result: WorkerResult) -> bool:
        known = result.metadata
        return (
            (result.status, known["reason"], result.exit_code) == (self.status, self.reason, self.exit_code)
            and known["evidence"]["signal"] == self.signal
            and set(known["warnings"]) == self.warnings
            and result.error in self.errors
        )


@attrs.frozen
class Task:
    """One that was given, as far as it has come."""

    name: str
    worker: str
    engine: str
    prompt: str
    is_detached: bool
    phase: Phase = Phase.WAITING
    takes_slot: bool = False
    """Whether it waits for a slot of its engine's, if only for that to see that another one has ended it."""
    said: tuple[Saying, ...] = ()
    is_deaf: bool = False
    """Whether its agent ignores TERM."""
    watchers: frozenset[str] = frozenset()
    """The engines that have asked the keeper for it, and will ask the next one."""
    readers: frozenset[str] = frozenset()
    """The engines that wait for its result, and read along until then."""
    is_kept: bool | None = False
    """Whether a keeper has it in hand or has written down how it ended; None where both are right."""
    was_lost: bool = False
    """Whether a keeper was killed while it ran: nobody sees how it exits, and the next keeper takes it up."""
    ends: tuple[End, ...] = ()
    is_settled: bool | None = False
    """Whether there is a result; None where both are right."""

    @property
    def is_over(self) -> bool:
        return self.phase is Phase.OVER

    @property
    def cancelled_ends(self) -> tuple[End, ...]:
        """How it may end when it is cancelled as it stands."""
        if self.phase is not Phase.RUNNING:
            return (Ended(BY_CANCEL | BY_LOSS if self.phase is Phase.LOST else BY_CANCEL),)
        signal = "SIGKILL" if self.is_deaf else "SIGTERM"
        return (Ended(frozenset({"cancelled"}), None if self.was_lost else signal),)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """How its result may be; one, but for races."""
        return tuple(_verdict(self.said, end) for end in self.ends)


def _verdict(said: Iterable[Saying], end: End) -> Verdict:
    results = [saying for saying in said if saying.kind != "text"]
    more = frozenset({"multiple_results"} if len(results) > 1 else ())
    verdict = _ended_verdict(results, end) if isinstance(end, Ended) else _left_verdict(results, end)
    return attrs.evolve(verdict, warnings=verdict.warnings | more)


def _ended_verdict(results: list[Saying], end: Ended) -> Verdict:
    if end.code == 0 and results and results[-1].kind == "success":
        return Verdict(WorkerStatus.COMPLETED, exit_code=0)
    return Verdict(WorkerStatus.CANCELLED, "cancelled", end.code, end.signal, end.words)


def _left_verdict(results: list[Saying], end: Left) -> Verdict:
    code = end.code if end.is_seen else None
    if results and results[-1].kind == "failure":
        return _failed("error", code, results[-1].words)
    if not results and code is None:
        return _failed("no_result", None, "it ended unseen, without a result: its exit status is unknown")
    if not results and code == 0:
        return _failed("no_result", 0, "it ended without a result")
    if not results:
        return _failed("exit_status", code, f"exit status {code} without a result")
    if code:
        words = f"the agent reports success, but its program has exit status {code}"
        return _failed("exit_status", code, words)
    warnings = frozenset({"exit_unknown"} if code is None else ())
    return Verdict(WorkerStatus.COMPLETED, exit_code=code, warnings=warnings)


def _failed(reason: str, code: int | None, words: str) -> Verdict:
    return Verdict(WorkerStatus.FAILED, reason, code, errors=frozenset({words}))
