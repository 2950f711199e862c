"""Closing workers: what they do is ended, and what they hold is given back. One that fails harms no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.dispatch import find_again
from mahavishnu_core.errors import MahavishnuError, PluginError, not_kept
from mahavishnu_core.models import Closing
from mahavishnu_core.task_run import take_up

if TYPE_CHECKING:
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.models import Task, Worker
    from mahavishnu_core.task_run import TaskRun


@attrs.frozen
class Closer:
    """Closes workers for an engine; ``_runs`` are the tasks that it carries out or follows."""

    _engine: Engine
    _runs: Mapping[str, TaskRun]
    _grace_seconds: float

    async def close_all(self, worker_ids: Iterable[str]) -> Closing:
        """Close workers, all at once. Raises nothing that one of them is at fault for."""
        was_open: dict[str, bool] = {}
        failures: dict[str, MahavishnuError] = {}

        async def close(worker_id: str) -> None:
            try:
                was_open[worker_id] = await self.close(worker_id)
            except MahavishnuError as error:
                failures[worker_id] = error
            except OSError as error:
                failures[worker_id] = not_kept(error)
            except Exception as error:  # noqa: BLE001  # of a place's own code
                failures[worker_id] = PluginError(f"{type(error).__name__}: {error}")

        async with trio.open_nursery() as nursery:
            for worker_id in dict.fromkeys(worker_ids):
                nursery.start_soon(close, worker_id)
        closed = sorted(worker_id for worker_id, was in was_open.items() if was)
        before = sorted(worker_id for worker_id, was in was_open.items() if not was)
        return Closing(tuple(closed), tuple(before), failures)

    async def close(self, worker_id: str) -> bool:
        """End what a worker does and close it; False if it was closed before. Raises MahavishnuError."""
        state = self._engine.app.state
        worker, was_open = state.worker(worker_id), not state.is_closed(worker_id)
        await self._end_last_task(worker)
        if was_open:
            await self._engine.ask("close", object, worker=worker)
            state.close_worker(worker_id)
            await self._end_last_task(worker)  # whoever began one meanwhile may have missed it
        return was_open

    async def _end_last_task(self, worker: Worker) -> None:
        task = self._engine.app.state.last_task(worker.worker_id)
        if task is not None and not self._engine.app.state.status(task).is_final:
            await self.end_task(worker, task)

    async def end_task(self, worker: Worker, task: Task) -> None:
        """End a task, whoever carries it out, and settle it."""
        own = self._runs.get(task.task_id)
        if own is not None:
            await own.cancel(self._grace_seconds)
            await own.closed()
        if self._engine.app.state.result(task) is not None:
            return
        found = await find_again(self._engine, worker, task)
        await found.end("cancelled", self._grace_seconds)
        ended = await found.wait()
        with suppress(PluginError):  # its agent's plugin is not here: an engine that has it will settle it
            await take_up(self._engine, worker, task).settle(ended)
