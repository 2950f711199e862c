"""The records that pass between core and plugins: worker types, workers, tasks, commands, exits, results."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mahavishnu_core.errors import MahavishnuError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

Tracking: TypeAlias = Literal["stream-json", "lines", "socket"]
"""How a worker type reports progress: JSON events a line, plain lines, or plain lines and a socket beside."""

Told: TypeAlias = Literal[
    "session", "model", "partial_text", "thinking", "tool_calls", "tool_results", "subagents", "usage", "cost"
]
"""What an agent may tell beside its answer; ``session`` is a conversation that a later task goes on with."""

Cause: TypeAlias = Literal[
    "wall", "idle", "closed", "after_result", "permission", "cancelled", "output_limit"
]
"""Why we ended a command that had not ended by itself."""


def utc_now() -> str:
    """The present moment as ISO 8601 in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class WorkerStatus(enum.Enum):
    """Where a task stands; a worker has the status of its latest task. The last four are final."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset(
    {WorkerStatus.COMPLETED, WorkerStatus.FAILED, WorkerStatus.TIMEOUT, WorkerStatus.CANCELLED}
)


@attrs.frozen
class WorkerType:
    """A named recipe: which agent, in which place, with which command, environment and limits.

    ``env`` is never written to the state directory, since it may hold secrets.
    """

    name: str
    agent: str
    place: str = "local"
    command_template: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    progress_tracking: Tracking = "stream-json"
    result_storage: str | None = None
    timeout_seconds: float | None = None
    idle_seconds: float | None = None
    pass_env: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    install: str = ""
    """What to run to get the program, for the message that says it is missing."""
    tells: tuple[Told, ...] = ()
    """What its agent tells beside its answer: a promise, held against samples by ``plugins check``."""
    options: Mapping[str, JSON] = attrs.field(factory=dict)
    """What its place is told of it, checked by the place's plugin. Kept with each worker: no secrets here."""
    standing: bool = False
    """Whether its workers have one task, from ``spawn`` to ``close``, and take no others.

    That takes no slot, has no time limit, and nobody waits for it.
    """

    @property
    def is_plain(self) -> bool:
        """Whether its output is text for people, no events."""
        return self.progress_tracking != "stream-json"


@attrs.frozen
class Worker:
    """One durable instance of a worker type; a directory in the state directory."""

    worker_id: str
    type: WorkerType
    workspace: Path
    created: str
    facts: Mapping[str, JSON] = attrs.field(factory=dict)
    """What its place wants to know again: a container id, say."""


@attrs.frozen
class Task:
    """One prompt given to one worker."""

    task_id: str
    worker_id: str
    prompt: str
    timeout_seconds: float | None
    """None where it may go on for ever: a standing worker's."""
    session_id: str
    """The vendor's conversation id for this task: ours, or the one the conversation goes on with."""
    resume: bool
    """Whether the conversation ``session_id`` exists already."""
    created: str
    directory: Path
    idempotency_key: str | None = None
    """The caller's own name for this task: given again with it, it is the same task."""

    @property
    def is_standing(self) -> bool:
        """Whether it is the one task of a standing worker, which goes on until that is closed."""
        return self.timeout_seconds is None


@attrs.frozen
class Command:
    """What an agent wants run for a task. ``argv[0]`` is looked up in PATH by the place."""

    argv: tuple[str, ...]
    stdin: str = ""
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    pass_env: tuple[str, ...] = ()
    """Names or patterns (``ANTHROPIC_*``) of the caller's variables that this vendor's program may see."""
    drop_env: tuple[str, ...] = ()
    """Names or patterns that are taken out again, whoever let them in."""


@attrs.frozen
class Exit:
    """How a command ended, as its place saw it; neither exit code nor signal when nobody saw it."""

    exit_code: int | None = None
    signal: str | None = None
    ended: str = ""
    duration_seconds: float = 0.0
    cause: Cause | None = None
    """Why we ended it, if we did."""
    output_bytes: int | None = None
    """How much it had put out when it was asked to end: an answer that came later is no answer."""
    error: str | None = None
    """Why it never started, if it did not."""
    strays: tuple[str, ...] = ()
    """Processes that outlived the command and were ended after it: ``pid name``."""
    survivors: tuple[str, ...] = ()
    """What we could not end: ``pid name``, or what a lost shim stood for."""
    reason: str | None = None
    """One word for ``error``, where its place has a better one than ``spawn``."""
    warnings: tuple[str, ...] = ()
    """Words of its place for the warnings of the result."""

    @property
    def is_clean(self) -> bool:
        return self.exit_code == 0

    @property
    def is_known(self) -> bool:
        return self.exit_code is not None or self.signal is not None or self.error is not None


@attrs.frozen
class Leftover:
    """What a place still holds for a worker that is gone."""

    name: str
    """What it is, as its place's own tools name it: ``container mahavishnu-k3f9a2b1``."""
    worker_id: str
    detail: str
    """Why nobody needs it any more."""

    def __str__(self) -> str:
        return one_line(f"{self.name}: {self.detail}")


@attrs.frozen
class Swept:
    """What is left over in all places, and each plugin that could not say or remove all, with the reason."""

    leftovers: tuple[Leftover, ...]
    failures: tuple[str, ...] = ()


@attrs.frozen
class LogBatch:
    """Some lines of what a worker logs, in order: each batch of a worker begins after the one before it."""

    first: int
    """The number of the first line, counted from 1 over the worker's life. A gap: lines are missing."""
    lines: tuple[str, ...]
    """At least one; without line ends."""
    created: str
    """When the last of them was seen, ISO 8601."""

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.first + len(self.lines) - 1


@attrs.frozen
class Backlog:
    """Results that a storage has taken and that are not yet where it keeps them."""

    storage: str
    count: int
    reason: str = ""
    """Why the last attempt to send them failed; empty while they are on their way."""
    advice: str = ""
    """What to do about it."""
    is_failing: bool = False
    """Whether it is a fault that the user wants to hear of: it has worked before, or was set up on purpose.

    Without it the results may wait for a server that the user may never start.
    """


@attrs.frozen
class Synced:
    """What came of sending what waited in a storage."""

    sent: tuple[str, ...]
    """Ids of the tasks whose results have arrived now."""
    backlog: Backlog
    """What still waits afterwards."""
    lost: tuple[str, ...] = ()
    """Tasks whose results had arrived earlier and were found gone, to be sent again."""


@attrs.frozen
class Closing:
    """What came of closing workers, by their ids."""

    closed: tuple[str, ...]
    closed_before: tuple[str, ...]
    failures: Mapping[str, MahavishnuError]
    """Those that are still open, and why."""


_EMOJI = {
    WorkerStatus.COMPLETED: "✅",
    WorkerStatus.FAILED: "❌",
    WorkerStatus.TIMEOUT: "⏱️",
    WorkerStatus.CANCELLED: "🚫",
    WorkerStatus.RUNNING: "🔄",
    WorkerStatus.STARTING: "🔄",
    WorkerStatus.PENDING: "⏳",
}
_SUMMARY_LENGTH = 50
_RESULT: Mapping[str, type | tuple[type, ...]] = {
    "worker_id": str,
    "output": (str, type(None)),
    "error": (str, type(None)),
    "exit_code": (int, type(None)),
    "duration_seconds": (int, float),
    "metadata": dict,
    "timestamp": str,
}


@attrs.frozen
class WorkerResult:
    """What came of a task. ``metadata`` says how we know (see the user guide, "Results")."""

    worker_id: str
    status: WorkerStatus
    output: str | None = None
    error: str | None = None
    exit_code: int | None = None
    duration_seconds: float = 0.0
    metadata: dict[str, JSON] = attrs.field(factory=dict)
    timestamp: str = attrs.field(factory=utc_now)

    def is_success(self) -> bool:
        return self.status is WorkerStatus.COMPLETED

    def has_output(self) -> bool:
        return bool(self.output)

    def get_summary(self) -> str:
        """One line for people, and nothing that a terminal obeys; of an output its first 50 characters."""
        if self.is_success():
            text = self.output or ""
            text = text if len(text) <= _SUMMARY_LENGTH else text[:_SUMMARY_LENGTH] + "..."
        else:
            text = self.error or "Unknown error"
        return f"{_EMOJI[self.status]} {self.worker_id}: {one_line(text)}"

    def to_dict(self) -> dict[str, JSON]:
        return {
            "worker_id": self.worker_id,
            "status": self.status.value,
            "output": self.output,
            "error": self.error,
            "exit_code": self.exit_code,
            "duration_seconds": self.duration_seconds,
            "metadata": self.metadata,
            "timestamp": self.timestamp,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, JSON]) -> WorkerResult:
        """The result that ``to_dict`` described.

        Raises ``KeyError`` without worker_id, ``ValueError`` for a status that is not one of the seven
        or is missing, and for any other value that is not what it should be.
        """
        known = {name: data[name] for name in _RESULT if name in data}
        for name, value in known.items():
            if not isinstance(value, _RESULT[name]):
                raise ValueError(f"{name} of a result cannot be {type(value).__name__}")  # noqa: TRY004  # of JSON
        known["worker_id"] = data["worker_id"]
        status = WorkerStatus(data.get("status"))
        return cls(**{"timestamp": "", **known, "status": status})  # type: ignore[arg-type]  # fields of parsed JSON
