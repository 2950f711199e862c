"""Plays a recording back: its events are told one after the other, as if they came just now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_cli.account import Account
from mahavishnu_cli.recording import facts_of
from mahavishnu_core import WorkerResult
from mahavishnu_core.report import WorkerReport
from mahavishnu_core.text import redact_all, secrets_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mahavishnu_cli.progress import Progress
    from mahavishnu_cli.recording import Recording
    from mahavishnu_core.events import TaskEvent

_BREATH = 64
"""Events after which others have a turn, where nothing is waited for."""


@attrs.define(eq=False)
class Playback:
    """Stands in for the manager that carried the tasks out."""

    _recording: Recording
    _results: dict[str, WorkerResult] = attrs.field(init=False)
    """By task; a task without one gets it from its events."""
    _running: dict[str, Account] = attrs.field(factory=dict)
    """By task."""
    _reports: dict[str, WorkerReport] = attrs.field(factory=dict)
    """Of workers that have ended something."""
    _observers: list[Callable[[TaskEvent], None]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        tracks = sorted(self._recording.tracks.items(), key=lambda each: each[1].last)
        latest = {track.worker_id: task_id for task_id, track in tracks}
        self._results = {
            facts_of(result).task_id or latest.get(result.worker_id, result.worker_id): _redacted(result)
            for result in self._recording.results
        }

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return len(self._recording.tracks.keys() | self._results.keys())

    def observe(self, observer: Callable[[TaskEvent], None], /) -> None:
        self._observers.append(observer)

    def monitor_workers(self, worker_ids: Iterable[str], /) -> list[WorkerReport]:
        running = {account.worker_id: account.report() for account in self._running.values()}
        known = self._reports | running
        return [known[worker_id] for worker_id in worker_ids if worker_id in known]

    async def play(self, progress: Progress, speed: int | None) -> list[WorkerResult]:
        """Tell everything, ``speed`` events a second; the results, in the order of the recording."""
        tracks = self._recording.tracks
        began = trio.current_time()
        for number, item in enumerate(self._recording.events()):
            if speed is not None:
                await trio.sleep_until(began + number / speed)
            elif number % _BREATH == 0:
                await trio.lowlevel.checkpoint()
            self._tell(item, progress)
            if number == tracks[item.task_id].last:
                self._end(item.task_id, progress)
        for task_id, result in self._results.items():
            if task_id not in tracks:  # it ended without a word
                self._show_end(result, progress)
        return list(self._results.values())

    def _tell(self, item: TaskEvent, progress: Progress) -> None:
        account = self._running.get(item.task_id)
        if account is None:
            account = Account(item.worker_id, item.task_id, self._worker_type(item.task_id))
            self._running[item.task_id] = account
            progress.begin(item.worker_id)
        account.tally.add([item.event])
        for observer in self._observers:
            observer(item)

    def _worker_type(self, task_id: str) -> str:
        result = self._results.get(task_id)
        return (facts_of(result).worker_type if result else None) or self._recording.worker_type

    def _end(self, task_id: str, progress: Progress) -> None:
        account = self._running.pop(task_id)
        if task_id not in self._results:
            self._results[task_id] = _redacted(account.result())
        self._show_end(self._results[task_id], progress)

    def _show_end(self, result: WorkerResult, progress: Progress) -> None:
        self._reports[result.worker_id] = _report(result)
        progress.end(result)


def _report(result: WorkerResult) -> WorkerReport:
    """How a worker stands after its task."""
    facts = facts_of(result)
    return WorkerReport(
        result.worker_id,
        facts.worker_type or "",
        result.status,
        facts.task_id,
        elapsed_seconds=result.duration_seconds or None,
        activity=(result.output if result.is_success() else result.error) or "",
        tokens=sum(facts.usage.values()) if facts.usage else None,
        cost_usd=facts.cost_usd,
    )


def _redacted(result: WorkerResult) -> WorkerResult:
    return WorkerResult.from_dict(redact_all(result.to_dict(), secrets_in(os.environ)))
