"""The verdict: the status of a task, why, and the evidence for it. Pure functions of what was seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import MahavishnuError, UnknownWorker
from mahavishnu_core.models import JSON, Exit, Task, Worker, WorkerResult, WorkerStatus, utc_now
from mahavishnu_core.text import redact, redact_all

if TYPE_CHECKING:
    from mahavishnu_core.events import Finished
    from mahavishnu_core.tally import Tally

_ALLOW = "allow the tool in the worker type's command"
RATE_LIMITED = "rate_limited"
"""The reason of a task that its vendor has refused since there were too many."""
_STDERR_LINES = 20
_RESULTS_AT_ENDS = 50
"""Of more than twice as many results, so many of the first and of the last are in the evidence."""


@attrs.frozen
class Seen:
    """All that a verdict is taken from."""

    tally: Tally
    exit: Exit
    stderr: str = ""
    """The tail of the command's error output."""
    is_truncated: bool = False
    """Whether the output ended in the middle of a line."""
    noise: int = 0
    """Lines of a JSON stream that were no JSON objects."""
    results_in_time: int | None = None
    """How many result events came before we asked the command to end, if we did; None for all."""

    @property
    def succeeded_in_time(self) -> bool:
        """Whether its last result before we asked it to end was a success; a later one is our own doing."""
        in_time = self.tally.finished[: self.results_in_time]
        return bool(in_time) and in_time[-1].success


@attrs.frozen
class Verdict:
    status: WorkerStatus
    reason: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


def refusal(worker_id: str, error: MahavishnuError) -> WorkerResult:
    """The result of a task that was never given: its worker is busy, say, or unknown."""
    reason = "unknown_worker" if isinstance(error, UnknownWorker) else "refused"
    return WorkerResult(worker_id, WorkerStatus.FAILED, error=str(error), metadata={"reason": reason})


def judge(seen: Seen, timeout_seconds: float) -> Verdict:
    """Success needs the agent's own success event and a clean exit; the last result event decides."""
    verdict = _judge(seen, timeout_seconds)
    return attrs.evolve(verdict, warnings=(*verdict.warnings, *_warnings(seen)))


def result_of(worker: Worker, task: Task, seen: Seen, secrets: tuple[str, ...] = ()) -> WorkerResult:
    """The result of a task, with everything that is known of it; secret values are taken out of its texts."""
    verdict = judge(seen, math.inf if task.timeout_seconds is None else task.timeout_seconds)
    tally, last = seen.tally, _last(seen)
    output = last.text if last is not None and last.text is not None else tally.text
    return WorkerResult(
        worker_id=worker.worker_id,
        status=verdict.status,
        output=redact(output, secrets) or None,
        error=verdict.error and redact(verdict.error, secrets),
        exit_code=seen.exit.exit_code,
        duration_seconds=seen.exit.duration_seconds,
        metadata=redact_all(_metadata(worker, task, seen, verdict), secrets),
        timestamp=seen.exit.ended or utc_now(),
    )


def _judge(seen: Seen, timeout_seconds: float) -> Verdict:
    last, ended = _last(seen), seen.exit
    if ended.cause == "cancelled" and not (ended.is_clean and seen.succeeded_in_time):
        return Verdict(WorkerStatus.CANCELLED, "cancelled", ended.error or "cancelled")
    if ended.error is not None:
        return Verdict(WorkerStatus.FAILED, ended.reason or "spawn", ended.error)
    if ended.cause in {"wall", "idle", "closed", "after_result", "permission"} and seen.succeeded_in_time:
        return Verdict(WorkerStatus.COMPLETED, warnings=("killed_after_result",))
    if ended.cause in {"wall", "idle"}:
        return _timed_out(seen, timeout_seconds)
    if ended.cause == "permission":
        text = "ended: it waits for a permission that nobody is there to give: "
        return Verdict(WorkerStatus.FAILED, "needs_permission", text + _ALLOW)
    if ended.cause == "closed" and last is None:
        text = "ended: it had closed its output, without a result, and went on"
        return Verdict(WorkerStatus.FAILED, "no_result", _join(text, _tail(seen.stderr)))
    if ended.cause == "output_limit":
        return Verdict(WorkerStatus.FAILED, "output_limit", "ended: its output is over the limit")
    if last is None:
        return _without_result(seen)
    return _with_result(seen, last)


def _timed_out(seen: Seen, timeout_seconds: float) -> Verdict:
    if seen.tally.awaits_permission:
        text = "timed out while it waited for a permission: "
        return Verdict(WorkerStatus.TIMEOUT, "needs_permission", text + _ALLOW)
    if seen.exit.cause == "idle":
        return Verdict(
            WorkerStatus.TIMEOUT, "idle", "ended: no event came for the idle limit ('idle_seconds')"
        )
    return Verdict(WorkerStatus.TIMEOUT, "wall", f"Task timed out after {timeout_seconds:g} s")


def _without_result(seen: Seen) -> Verdict:
    ended, tail = seen.exit, _tail(seen.stderr)
    if ended.signal:
        return Verdict(WorkerStatus.FAILED, "signal", _join(f"ended by {ended.signal}", tail))
    if not ended.is_known:
        text = "it ended unseen, without a result: its exit status is unknown"
        return Verdict(WorkerStatus.FAILED, "no_result", _join(text, tail))
    if ended.exit_code:
        text = f"exit status {ended.exit_code} without a result"
        return Verdict(WorkerStatus.FAILED, "exit_status", _join(text, tail))
    if seen.is_truncated:
        text = "its output ends in the middle of a line, before any result"
        return Verdict(WorkerStatus.FAILED, "truncated_result", _join(text, tail))
    return Verdict(WorkerStatus.FAILED, "no_result", _join("it ended without a result", tail))


def _with_result(seen: Seen, last: Finished) -> Verdict:
    ended = seen.exit
    if not last.success:
        text = last.error or last.text or _tail(seen.stderr) or "the agent reports a failure without a word"
        return Verdict(WorkerStatus.FAILED, last.reason or "agent_error", text)
    if not ended.is_known:
        return Verdict(WorkerStatus.COMPLETED, warnings=("exit_unknown",))
    if ended.is_clean:
        return Verdict(WorkerStatus.COMPLETED)
    how = f"was ended by {ended.signal}" if ended.signal else f"has exit status {ended.exit_code}"
    text = f"the agent reports success, but its program {how}"
    reason = "signal" if ended.signal else "exit_status"
    return Verdict(WorkerStatus.FAILED, reason, _join(text, _tail(seen.stderr)))


def _warnings(seen: Seen) -> list[str]:
    found = {
        "multiple_results": len(seen.tally.finished) > 1,
        "strays_ended": bool(seen.exit.strays),
        "survivors": bool(seen.exit.survivors),
        "oversize_lines": bool(seen.tally.oversize),
        "output_cut": seen.tally.is_cut,
    }
    return [*(name for name, holds in found.items() if holds), *seen.exit.warnings]


def _metadata(worker: Worker, task: Task, seen: Seen, verdict: Verdict) -> dict[str, JSON]:
    tally, last = seen.tally, _last(seen)
    cost = tally.usage.cost_usd if tally.usage else None
    metadata: dict[str, JSON] = {
        "worker_type": worker.type.name,
        "task_id": task.task_id,
        "session_id": tally.started.session_id if tally.started else None,
        "model": tally.started.model if tally.started else None,
        "usage": _usage(tally),
        "cost_usd": cost,
        "cost_origin": "unknown" if cost is None else "reported",
        "turns": last.turns if last else None,
        "tool_calls": tally.tool_calls,
        "reason": verdict.reason,
        "warnings": list(verdict.warnings),
        "evidence": _evidence(seen),
    }
    return metadata | ({"retry_at": tally.retry_at} if verdict.reason == RATE_LIMITED else {})


def _usage(tally: Tally) -> JSON:
    if tally.usage is None:
        return None
    tokens = tally.usage.tokens
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write,
    }


def _evidence(seen: Seen) -> dict[str, JSON]:
    finished = seen.tally.finished
    shown = [*finished[:_RESULTS_AT_ENDS], *finished[_RESULTS_AT_ENDS:][-_RESULTS_AT_ENDS:]]
    left_out = len(finished) - len(shown)
    results: list[JSON] = [_as_evidence(each) for each in shown]
    return {
        "results": results,
        **({"results_left_out": left_out} if left_out else {}),
        "exit_code": seen.exit.exit_code,
        "signal": seen.exit.signal,
        "exit_known": seen.exit.is_known,
        "ended_by_us": seen.exit.cause,
        "strays": list(seen.exit.strays),
        "survivors": list(seen.exit.survivors),
        "events": seen.tally.events,
        "noise_lines": seen.noise,
        "truncated": seen.is_truncated,
        "stderr": _tail(seen.stderr),
    }


def _as_evidence(finished: Finished) -> dict[str, JSON]:
    """A result event without its text where that is the output anyway."""
    return {"success": finished.success, "reason": finished.reason, "error": finished.error}


def _last(seen: Seen) -> Finished | None:
    return seen.tally.finished[-1] if seen.tally.finished else None


def _tail(stderr: str) -> str:
    return "\n".join(stderr.strip().splitlines()[-_STDERR_LINES:])


def _join(text: str, tail: str) -> str:
    return f"{text}: {tail}" if tail else text
