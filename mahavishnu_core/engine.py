"""An engine: plugins, state directory, and what stays open while it lives. Hooks get it to work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, TypeVar, cast

import attrs
import trio

from mahavishnu_core.debug_log import DebugLog, Entry
from mahavishnu_core.debugging import debugging, entries_of
from mahavishnu_core.errors import MahavishnuError, PluginError, not_kept
from mahavishnu_core.events import Event, TaskEvent
from mahavishnu_core.host import awaited
from mahavishnu_core.models import Task, Worker
from mahavishnu_core.observers import observing
from mahavishnu_core.rate_limits import RateLimits
from mahavishnu_core.text import one_line, redact
from mahavishnu_core.watch import WatchedAwaitable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mahavishnu_core.app import App
    from mahavishnu_core.models import JSON, LogBatch, WorkerResult

T = TypeVar("T")
STATE_DIRECTORY = "state directory"
"""What stands in the place of a storage where a result cannot be written down at all."""
STORE_PATIENCE = 30.0
"""Seconds in which a storage must have kept a result; it is asked again later."""
Observer = Callable[[TaskEvent], None]
Listener = Callable[[str], None]
_NOTICE_WIDTH = 200


@attrs.frozen
class StorageFailure:
    """A storage that could not keep the result of a task; it is asked again by ``results sync``."""

    storage: str
    task_id: str
    error: str


@attrs.define(eq=False)
class Engine:
    """Opened by ``open_engine``; everything it holds is closed with it."""

    app: App
    _nursery: trio.Nursery
    max_concurrent: int
    """How many tasks may run at once on the state directory, whoever launched them."""
    observers: list[Observer] = attrs.field(factory=list)
    """Called in the loop, so they must not block: the program's own, and one for each plugin's thread."""
    listeners: list[Listener] = attrs.field(factory=list)
    """Called in the loop with each notice of what is being waited for."""
    storage_failures: list[StorageFailure] = attrs.field(factory=list)
    stored_in: set[str] = attrs.field(factory=set)
    """Storages that have taken a result from this engine."""
    log: DebugLog | None = None
    """Where what happens here is written down, if that is wanted."""
    settling: trio.Lock = attrs.field(factory=trio.Lock)
    """Held for one verdict: one a turn of the loop, so that a free slot is filled before many are given."""
    limits: RateLimits = attrs.field(init=False)
    """The vendors' limits that tasks have met here."""
    _held: dict[str, object] = attrs.field(factory=dict)
    _opening: dict[str, trio.Lock] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.limits = RateLimits(self.app.loaded.settings.rate_limit_wait_seconds, self.notify)

    @property
    def state_dir(self) -> Path:
        return self.app.state.root

    async def hold(self, key: str, opener: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Open a resource once for the engine's lifetime and share it by ``key``.

        It lives in a task of its own: what opens a nursery must be closed by the task that opened it.
        """
        if key not in self._held:
            async with self._opening.setdefault(key, trio.Lock()):
                if key not in self._held:
                    self._held[key] = await self._nursery.start(_keep_open, opener)
        return cast("T", self._held[key])

    def notify(self, text: str) -> None:
        """Tell whoever waits what takes so long: one line, each replaces the last."""
        line = one_line(redact(text, self.app.secrets), _NOTICE_WIDTH)
        self.record("waiting", text=line)
        for listener in tuple(self.listeners):
            listener(line)

    def record(
        self, event: str, task: Task | None = None, *, plugin: str | None = None, **facts: JSON
    ) -> None:
        """Write into the debug log what has happened; nothing where there is none."""
        if self.log is not None:
            worker_id, task_id = (task.worker_id, task.task_id) if task else (None, None)
            self.log.write(Entry(event, worker_id, task_id, plugin, facts))

    def tell(self, task: Task, first_seq: int, events: list[Event], plugin: str) -> None:
        """Show events to all observers; ``plugin`` is whose parser has read them."""
        if not self.observers and self.log is None:
            return
        items = [
            TaskEvent(task.worker_id, task.task_id, seq, event) for seq, event in enumerate(events, first_seq)
        ]
        for observer in self.observers:
            for item in items:
                observer(item)
        # what a standing worker puts out may be the log itself
        if self.log is not None and not task.is_standing:
            self.log.write(*entries_of(items, plugin))

    async def store(self, worker: Worker, task: Task, result: WorkerResult) -> None:
        """Have every storage keep a result; those that have it already are not asked to do it again."""
        state = self.app.state
        complete = True
        answers = self.app.host.attempts("store_result", engine=self, worker=worker, task=task, result=result)
        with _discarding(answers):
            for storage, answer in answers:
                if state.is_stored(task, storage):
                    continue
                reason = await _why_not_kept(answer)
                self.record("stored" if reason is None else "not_stored", task, plugin=storage, reason=reason)
                if reason is None:
                    self.stored_in.add(storage)
                    reason = _why_not_written(partial(state.mark_stored, task, storage))
                if reason is not None:
                    self.storage_failures.append(StorageFailure(storage, task.task_id, reason))
                    complete = False
        if complete:
            state.mark_done(task)

    def settle(self, task: Task, result: WorkerResult) -> WorkerResult | None:
        """Write a result down; the one that stands, None where none can be written: a later engine will."""
        settled: list[WorkerResult] = []
        reason = _why_not_written(lambda: settled.append(self.app.state.settle(task, result)))
        if reason is not None:
            self.storage_failures.append(StorageFailure(STATE_DIRECTORY, task.task_id, reason))
            return None
        return settled[0]

    async def store_log(self, worker: Worker, batch: LogBatch) -> dict[str, str | None]:
        """Have all storages keep some lines of a worker's log; each by name, with the reason if it could not.

        Give them the same batch again then: each keeps it once.
        """
        answers = self.app.host.attempts("store_log", engine=self, worker=worker, batch=batch)
        with _discarding(answers):
            return {storage: await _why_not_kept(answer) for storage, answer in answers}

    async def ask(self, hook: str, kind: type[T], **arguments: object) -> T | None:
        """The first answer to an async hook, awaited; None where nobody answers."""
        found = self.app.host.answered(hook, engine=self, **arguments)
        if found is None:
            return None
        plugin, answer = found
        began, failure = trio.current_time(), "it was cancelled"
        try:
            result = await awaited(answer, kind)
            failure = ""
        except MahavishnuError as error:
            failure = str(error)
            raise
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise PluginError(f"{hook} failed: {failure}") from error
        finally:
            self._record_call(hook, plugin, arguments, trio.current_time() - began, failure)
        return result

    def _record_call(
        self, hook: str, plugin: str, arguments: Mapping[str, object], seconds: float, failure: str
    ) -> None:
        is_launch_of_nothing = hook == "launch" and arguments["command"] is None  # it is only found again
        if self.log is not None and not is_launch_of_nothing:
            worker, task = arguments.get("worker"), arguments.get("task")
            entry = Entry(
                hook,
                worker.worker_id if isinstance(worker, Worker) else None,
                task.task_id if isinstance(task, Task) else None,
                plugin,
                {"seconds": round(seconds, 6), "error": failure or None},
            )
            self.log.write(entry)


@asynccontextmanager
async def open_engine(app: App, max_concurrent: int) -> AsyncIterator[Engine]:
    """An engine on a state directory, which is made where there is none. Raises StateDirError."""
    app.state.prepare()
    async with trio.open_nursery() as nursery:
        engine = Engine(app, nursery, max_concurrent)
        with debugging(engine):
            async with observing(app.host, nursery) as observers:
                engine.observers += observers
                yield engine
        nursery.cancel_scope.cancel()


def _why_not_written(write: Callable[[], object]) -> str | None:
    """Write something into the state directory; the reason where that cannot be done."""
    try:
        write()
    except OSError as error:
        return str(not_kept(error))
    return None


async def _why_not_kept(answer: object) -> str | None:
    """Await a storage's answer; the reason where it could not keep what it was given."""
    try:
        if isinstance(answer, Exception):
            raise answer
        with trio.move_on_after(STORE_PATIENCE) as waiting:
            await awaited(answer, type(None))
    except MahavishnuError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # foreign code; what it was to keep is safe on disk
        return f"{type(error).__name__}: {error}"
    return f"it has not answered for {STORE_PATIENCE:g} s" if waiting.cancelled_caught else None


async def _keep_open(
    opener: Callable[[], AbstractAsyncContextManager[T]],
    task_status: trio.TaskStatus[T] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with opener() as resource:
        task_status.started(resource)
        await trio.sleep_forever()


@contextmanager
def _discarding(answers: Iterable[tuple[str, object]]) -> Iterator[None]:
    """Afterwards close those that nobody has awaited: a coroutine would warn."""
    try:
        yield
    finally:
        for _, answer in answers:
            if isinstance(answer, (CoroutineType, WatchedAwaitable)):
                answer.close()
