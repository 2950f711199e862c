"""The manager: spawns workers, gives them tasks under the limit, reports, collects, closes."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trio

from mahavishnu_core import asking, standing
from mahavishnu_core.app import App, load_app
from mahavishnu_core.closing import Closer
from mahavishnu_core.dispatch import find_again, launch, require_program, spawn_all
from mahavishnu_core.engine import Engine, Listener, Observer, StorageFailure, open_engine
from mahavishnu_core.errors import (
    AlreadyGiven,
    MahavishnuError,
    PluginError,
    StateDirError,
    UsageError,
    not_kept,
)
from mahavishnu_core.health import Health, take_health
from mahavishnu_core.models import Exit, Task, Worker, WorkerResult, WorkerStatus, utc_now
from mahavishnu_core.nesting import require_allowed
from mahavishnu_core.recovery import recover
from mahavishnu_core.report import WorkerReport, report
from mahavishnu_core.slots import Slot, within_bounds
from mahavishnu_core.task_run import LOOK_LATEST, TERM_GRACE, TaskRun, checked_prompt, take_up
from mahavishnu_core.verdict import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from mahavishnu_core.health import Check
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.models import JSON, Backlog, Closing, Swept, Synced, WorkerType

CLOSE_PATIENCE = 30.0
"""Seconds that closing workers may take when their caller is being cancelled."""


class WorkerManager:
    """Runs workers on one state directory; use it as ``async with WorkerManager() as manager:``.

    An error raised in the body of that block comes out wrapped in an ``ExceptionGroup``, as from any Trio
    nursery. Begin tasks within the block, in nurseries of your own within it: what is begun from outside is
    not seen to its end once the block is left. Tasks that were submitted go on.
    """

    def __init__(self, app: App | None = None, *, max_concurrent: int | None = None) -> None:
        self.app = app or load_app()
        self.app.read()
        wanted = self.app.loaded.settings.max_concurrent_workers if max_concurrent is None else max_concurrent
        self.max_concurrent = within_bounds(wanted)
        self._slots = trio.Semaphore(self.max_concurrent)
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None
        self._runs: dict[str, TaskRun] = {}

    async def __aenter__(self) -> Self:
        self._engine = await self._stack.enter_async_context(open_engine(self.app, self.max_concurrent))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)  # noqa: ASYNC102  # the nursery sees to it

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the manager is not open: use it in 'async with'")
        return self._engine

    @property
    def storage_failures(self) -> Sequence[StorageFailure]:
        """What storages could not keep since the manager was opened."""
        return tuple(self.engine.storage_failures)

    def observe(self, observer: Observer) -> None:
        """Have every event of every task followed here told to ``observer``, which must not block."""
        self.engine.observers.append(observer)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Have ``listener`` told what is being waited for: one line, each replaces the last."""
        self.engine.listeners.append(listener)
        try:
            yield
        finally:
            self.engine.listeners.remove(listener)

    # --- workers

    async def spawn_workers(
        self, worker_type: str, count: int = 1, *, repo: Path | None = None, until_started: bool = True
    ) -> list[str]:
        """Make workers ready, or have standing ones begin, and return their ids; all, or none if one cannot.

        Without ``until_started`` standing ones may fail later on, as ``standing.started`` tells. Raises
        UnknownWorkerType, MissingError (its plugin or program is not there), UsageError.
        """
        if count < 1:
            raise UsageError(f"count must be 1 or more, not {count}")
        require_allowed(self.app)
        kind = self.app.catalog.get(worker_type)
        workspace = (repo or Path.cwd()).absolute()
        require_program(kind, workspace)
        made: list[Worker] = []
        try:
            await spawn_all(self.engine, kind, workspace, count, made)
            await standing.begin_all(self.engine, made, until_started=until_started)
        except BaseException:
            with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                await self.close_workers(worker.worker_id for worker in made)
            raise
        return [worker.worker_id for worker in sorted(made, key=lambda worker: worker.created)]

    async def close_worker(self, worker_id: str, *, grace_seconds: float = TERM_GRACE) -> bool:
        """End what a worker does and close it; False if it was closed before.

        Raises UnknownWorker, and PluginError, MissingError where its place cannot give back what it holds.
        """
        return await self._closer(grace_seconds).close(worker_id)

    async def close_workers(self, worker_ids: Iterable[str], *, grace_seconds: float = TERM_GRACE) -> Closing:
        """Close these, all at once: one that cannot be closed is told of and keeps no other open."""
        return await self._closer(grace_seconds).close_all(worker_ids)

    async def close_all(self, *, grace_seconds: float = TERM_GRACE) -> int:
        """Close every worker that is open, whoever has spawned it; how many there were.

        Raises what was wrong with the first that cannot be closed, once all others are.
        """
        ids = [worker.worker_id for worker in self.app.state.workers()]
        done = await self.close_workers(ids, grace_seconds=grace_seconds)
        for error in done.failures.values():
            raise error
        return len(done.closed)

    def _closer(self, grace_seconds: float) -> Closer:
        return Closer(self.engine, self._runs, grace_seconds)

    # --- tasks

    async def execute_task(
        self, worker_id: str, prompt: str, *, timeout_seconds: float | None = None
    ) -> WorkerResult:
        """Give a worker a task and return its result, whatever comes of it.

        Raises UnknownWorker, WorkerBusy and UsageError before the task exists; afterwards every fault is in
        the result. Cancelling the caller ends the task.
        """
        run = self._begin(worker_id, prompt, timeout_seconds)
        if isinstance(run, WorkerResult):
            return run
        slot = Slot(self._slots, self.engine.limits, run.worker.type.name)

        async def begin() -> Run:
            await slot.take()
            if self.app.state.result(run.task) is not None:  # another engine has closed its worker meanwhile
                raise MahavishnuError("ended before it was started")
            return await launch(self.engine, run.worker, run.task, detached=False)

        try:
            return await run.carry_out(begin, slot.give_back)
        finally:
            del self._runs[run.task.task_id]
            slot.give_back()

    async def submit_task(
        self,
        worker_id: str,
        prompt: str,
        *,
        timeout_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Give a worker a task that goes on without this engine; its id.

        A second one with the same ``idempotency_key`` is not given: the id is that of the first. Raises as
        ``execute_task``. Cancelling the caller before it has the id ends the task.
        """
        try:
            run = self._begin(worker_id, prompt, timeout_seconds, idempotency_key)
        except AlreadyGiven as known:
            return known.task_id
        if isinstance(run, WorkerResult):
            raise PluginError(str(run.error))
        try:
            launched = await launch(self.engine, run.worker, run.task, detached=True)
            await launched.state()
        except StateDirError:  # nobody can say how far it has come: a later engine finds out
            raise
        except MahavishnuError as error:
            await run.fail(str(error))
        except BaseException:
            with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                await self._take_back(run)
            raise
        finally:
            del self._runs[run.task.task_id]
            run.close()
        return run.task.task_id

    async def _take_back(self, run: TaskRun) -> None:
        """End a task of which it is not known how far it was launched, so that its worker is free again."""
        try:
            found = await find_again(self.engine, run.worker, run.task)
            await found.end("cancelled", TERM_GRACE)
            ended = await found.wait()
        except MahavishnuError as error:
            ended = Exit(cause="cancelled", error=str(error), ended=utc_now())
        await run.settle(ended)

    async def wait_for_task(self, task_id: str) -> WorkerResult:
        """The result of a task, whoever gave it, once it has ended; it is read along with until then.

        Raises UnknownTask, and PluginError where what it does cannot be read.
        """
        task = self.app.state.task(task_id)
        result = self.app.state.result(task)
        while result is None:
            result = await self._read_along(self.app.state.worker(task.worker_id), task)
        return result

    async def cancel_task(self, task_id: str, *, grace_seconds: float = TERM_GRACE) -> None:
        """End a task, whoever gave it. Nothing is done to one that has ended. Raises UnknownTask."""
        task = self.app.state.task(task_id)
        await self._closer(grace_seconds).end_task(self.app.state.worker(task.worker_id), task)

    async def execute_batch(
        self, worker_ids: Sequence[str], prompts: Sequence[str], *, timeout_seconds: float | None = None
    ) -> list[WorkerResult]:
        """Give each worker the prompt in its place; the results in the same order.

        A worker named several times does its tasks one after the other. A worker that does not exist, is busy
        or cannot begin fails in its own place. Raises UsageError when the lists differ in length.
        """
        if len(worker_ids) != len(prompts):
            lengths = f"{len(worker_ids)} and {len(prompts)}"
            raise UsageError(f"worker_ids and prompts must have the same length, not {lengths}")
        results: dict[int, WorkerResult] = {}

        async def work_off(worker_id: str, places: list[int]) -> None:
            for place in places:
                results[place] = await self._execute_or_fail(worker_id, prompts[place], timeout_seconds)

        places_of: dict[str, list[int]] = {}
        for place, worker_id in enumerate(worker_ids):
            places_of.setdefault(worker_id, []).append(place)
        async with trio.open_nursery() as nursery:
            for worker_id, places in places_of.items():
                nursery.start_soon(work_off, worker_id, places)
        return [results[place] for place in range(len(prompts))]

    async def _execute_or_fail(
        self, worker_id: str, prompt: str, timeout_seconds: float | None
    ) -> WorkerResult:
        try:
            return await self.execute_task(worker_id, prompt, timeout_seconds=timeout_seconds)
        except MahavishnuError as error:
            return refusal(worker_id, error)
        except OSError as error:
            return refusal(worker_id, not_kept(error))

    async def cancel_tasks(self, grace_seconds: float = TERM_GRACE) -> None:
        """End all tasks that are carried out or followed here; each returns its result to its own caller."""
        for run in list(self._runs.values()):
            await run.cancel(grace_seconds)

    def _begin(
        self,
        worker_id: str,
        prompt: str,
        timeout_seconds: float | None,
        idempotency_key: str | None = None,
    ) -> TaskRun | WorkerResult:
        """A task as it begins, or the result that it has already. Raises UsageError where there is none."""
        state = self.app.state
        require_allowed(self.app)
        worker = state.worker_for_tasks(worker_id)
        if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
            raise UsageError(f"timeout_seconds must be a number above 0, not {timeout_seconds!r}")
        state.refuse_known(worker_id, idempotency_key)
        if state.is_closed(worker_id):
            raise UsageError(f"worker {worker_id!r} is closed: spawn another one")
        timeout = timeout_seconds or worker.type.timeout_seconds
        timeout = timeout or self.app.loaded.settings.worker_timeout_seconds
        task = state.add_task(worker, checked_prompt(prompt), timeout, idempotency_key)
        self.engine.record("task_given", task, worker_type=worker.type.name, timeout_seconds=timeout)
        try:
            run = self._runs[task.task_id] = take_up(self.engine, worker, task)
        except MahavishnuError as error:
            # without its agent's plugin nothing can be said of the task but this
            metadata: dict[str, JSON] = {"task_id": task.task_id, "reason": "spawn"}
            failed = WorkerResult(worker_id, WorkerStatus.FAILED, error=str(error), metadata=metadata)
            return state.settle(task, failed)
        return run

    # --- reports

    def monitor_workers(
        self, worker_ids: Iterable[str] | None = None, *, with_closed: bool = False
    ) -> list[WorkerReport]:
        """How each worker stands now, as its files and this engine know it. Raises UnknownWorker."""
        state = self.app.state
        if worker_ids is None:
            workers = state.workers(with_closed=with_closed)
        else:
            workers = [state.worker(worker_id) for worker_id in worker_ids]
        return [report(state, worker, self._runs) for worker in workers]

    async def follow(
        self,
        ids: Iterable[str] | None = None,
        on_result: Callable[[WorkerResult], None] = lambda _: None,
    ) -> None:
        """Read along with tasks, or with what workers are doing, for whichever engine, until all has ended.

        Standing workers are followed only where they are named. Raises UnknownWorker, UnknownTask.
        """
        state = self.app.state
        async with trio.open_nursery() as nursery:
            for each in state.passing_ids() if ids is None else ids:
                task = state.task_named(each)
                if task is not None and not state.status(task).is_final:
                    nursery.start_soon(self._follow_one, task.task_id, on_result)

    async def _follow_one(self, task_id: str, on_result: Callable[[WorkerResult], None]) -> None:
        with suppress(PluginError):  # without its plugins it cannot be read, and others can
            on_result(await self.wait_for_task(task_id))

    async def _read_along(self, worker: Worker, task: Task) -> WorkerResult | None:
        """Follow a task to its end, or wait for whoever does so here; its result, also where none is kept."""
        state = self.app.state
        # while it waits for a slot in its own engine, no place knows of it yet; files give no event
        while (run := self._runs.get(task.task_id)) is None and state.waits_elsewhere(task):  # noqa: ASYNC110
            await trio.sleep(LOOK_LATEST)
        if run is not None:
            await run.closed()
            return run.result
        if (result := state.result(task)) is not None:  # it ran and was settled between two looks
            return result
        run = self._runs[task.task_id] = take_up(self.engine, worker, task)
        try:
            return await run.follow(await find_again(self.engine, worker, task))
        finally:
            run.close()
            del self._runs[task.task_id]

    async def recover(self) -> None:
        """Settle and store what ended while no engine looked; see that what still runs is being kept."""
        await recover(self.engine, self._runs)

    async def collect_results(
        self, worker_ids: Iterable[str] | None = None, *, all_tasks: bool = False
    ) -> list[WorkerResult]:
        """The results of the workers' latest tasks, or of all, as far as they have ended.

        Those of standing workers only where they are named. The id of a task stands for that one. Raises
        UnknownWorker, UnknownTask.
        """
        await self.recover()
        return self.app.state.results(worker_ids, all_tasks=all_tasks)

    async def health(self) -> Health:
        """How the workers are doing, taken together."""
        await self.recover()
        swept, backlogs = await self.sweep(), await self.backlogs()
        return take_health(self.app.state, self.max_concurrent, swept, backlogs)

    async def sweep(self, *, remove: bool = False) -> Swept:
        """What places still hold for workers that are gone; ``remove`` takes it away."""
        return await asking.sweep_places(self.engine, remove=remove)

    async def diagnose(self, kinds: Sequence[WorkerType]) -> list[Check]:
        """What plugins find of themselves, and of these worker types."""
        return await asking.diagnose(self.engine, kinds)

    async def backlogs(self) -> list[Backlog]:
        """What storages have taken and not sent yet to where they keep it.

        A storage that raises, or does not answer for 15 s, is among them as one that is failing, with the
        reason, and with a count of 0, since nobody knows it.
        """
        return await asking.backlogs(self.engine)

    async def search_results(self, text: str, limit: int) -> tuple[list[WorkerResult], dict[str, str]]:
        """What all storages find, best first; and by name the storages that cannot be searched, and why."""
        return await asking.search_results(self.engine, text, limit)

    async def sync_results(
        self, *, verify: bool = False, told: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Synced]:
        """Have storages send what waits in them, with ``verify`` also what has been lost where it was sent.

        It takes as long as it takes, and may be cancelled. ``told`` hears how many of how many are done, from
        each storage by itself. A storage that raises is among them as one that has sent nothing, with a
        backlog as ``backlogs`` has it.
        """
        return await asking.sync_results(self.engine, verify=verify, told=told)
