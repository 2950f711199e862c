"""A batch under way: what is taken from before, what is followed, what is begun."""

from __future__ import annotations

from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_cli.streams import complain
from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.errors import MahavishnuError, not_kept
from mahavishnu_core.verdict import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mahavishnu_cli.batch_file import Item
    from mahavishnu_cli.batch_journal import Journal
    from mahavishnu_cli.foreground import Foreground
    from mahavishnu_core.state import StateDir

_CLOSE_PATIENCE = 30.0
"""Seconds that closing a worker may take when the batch is being cancelled."""


@attrs.frozen
class Plan:
    """What a batch has to do, items by their keys."""

    taken: dict[str, WorkerResult]
    """Results that are there from before."""
    under_way: dict[str, str]
    """Items that an earlier run began and that have not ended, with their workers."""
    left: list[Item]
    """What is to be begun, or seen through."""


def plan(
    items: Iterable[Item], journal: Journal, state: StateDir, *, retry: bool = False, fresh: bool = False
) -> Plan:
    """Compare the items with what the journal and the state directory know of them."""
    made = Plan({}, {}, [])
    for item in items:
        task = None if fresh else journal.task_of(item, state)
        result = None if task is None else state.result(task)
        if result is not None and _stands(result, retry=retry):
            made.taken[item.key] = _marked(item, result)
            continue
        made.left.append(item)
        if task is not None and result is None:
            made.under_way[item.key] = task.worker_id
    return made


def _stands(result: WorkerResult, *, retry: bool) -> bool:
    """Whether an earlier result is taken instead of doing the item again."""
    return result.is_success() or not (retry or result.status is WorkerStatus.CANCELLED)


def _marked(item: Item, result: WorkerResult) -> WorkerResult:
    return attrs.evolve(result, metadata={**result.metadata, "item": item.name})


@attrs.define(eq=False)
class BatchRun:
    """Carries out the items of a plan, and adds their results to it."""

    _foreground: Foreground
    _journal: Journal
    _plan: Plan
    _default_type: str
    statuses: list[int] = attrs.field(factory=list)
    """Exit statuses of items that could not even begin, and of workers that could not be closed."""
    _turns: dict[str, trio.Lock] = attrs.field(factory=lambda: defaultdict(trio.Lock))
    """Items that name the same worker take turns."""
    _complaints: set[str] = attrs.field(factory=set)

    async def carry_out_all(self) -> None:
        """See all items through, as many at once as the manager allows, until a signal comes."""
        jobs = (partial(self._carry_out, item) for item in self._in_turn())
        await self._foreground.do(jobs, self._foreground.manager.max_concurrent)

    def _in_turn(self) -> Iterator[Item]:
        """What is left, in its order, but for types at a rate limit as long as there are others to do."""
        limits = self._foreground.manager.engine.limits
        queues: dict[str, deque[tuple[int, Item]]] = defaultdict(deque)
        for place, item in enumerate(self._plan.left):
            queues[self._type_of(item)].append((place, item))
        while queues:
            open_ones = [kind for kind in queues if not limits.holds(kind)]
            kind = min(open_ones or queues, key=lambda kind: queues[kind][0][0])
            yield queues[kind].popleft()[1]
            if not queues[kind]:
                del queues[kind]

    def _type_of(self, item: Item) -> str:
        app = self._foreground.manager.app
        try:
            if item.worker_id is not None:
                return app.state.worker(item.worker_id).type.name
            return app.catalog.get(item.worker_type or self._default_type).name
        except MahavishnuError:  # it is told when its turn comes
            return ""

    async def _carry_out(self, item: Item) -> None:
        """See an item through. A fault of one item is its own: the others go on."""
        try:
            if item.key in self._plan.under_way:
                result = await self._go_on(self._plan.under_way[item.key], item)
            elif item.worker_id is not None:
                async with self._turns[item.worker_id]:
                    result = await self._execute(item.worker_id, item)
            else:
                result = await self._spawn_and_execute(item)
        except MahavishnuError as error:
            result = self._refuse(item, error)
        except OSError as error:
            result = self._refuse(item, not_kept(error))
        if result is not None:
            self._plan.taken[item.key] = _marked(item, result)

    def _refuse(self, item: Item, error: MahavishnuError) -> WorkerResult:
        self._complain(f"item {item.name}", str(error))
        self.statuses.append(error.exit_status)
        return refusal(item.worker_id or "", error)

    def _complain(self, name: str, error: str) -> None:
        """Say once what may well be wrong with every item."""
        if error not in self._complaints:
            self._complaints.add(error)
            complain(f"{name}: {error}")

    async def _go_on(self, worker_id: str, item: Item) -> WorkerResult | None:
        result = await self._foreground.follow(worker_id)
        if result is None:  # it ended before we could look
            state = self._foreground.manager.app.state
            task = self._journal.task_of(item, state)
            result = None if task is None else state.result(task)
        if item.worker_id is None:
            await self._close(worker_id)
        return result

    async def _spawn_and_execute(self, item: Item) -> WorkerResult | None:
        manager = self._foreground.manager
        [worker_id] = await manager.spawn_workers(item.worker_type or self._default_type, repo=item.repo)
        try:
            return await self._execute(worker_id, item)
        finally:
            with trio.move_on_after(_CLOSE_PATIENCE, shield=True):
                await self._close(worker_id)

    async def _close(self, worker_id: str) -> None:
        """A worker that cannot be closed costs nobody its result."""
        closing = await self._foreground.manager.close_workers([worker_id])
        for error in closing.failures.values():
            self._complain(f"worker {worker_id!r} cannot be closed", str(error))
            self.statuses.append(error.exit_status)

    async def _execute(self, worker_id: str, item: Item) -> WorkerResult | None:
        self._journal.note(item, self._next_task_id(worker_id))
        return await self._foreground.execute(worker_id, item.prompt, item.timeout)

    def _next_task_id(self, worker_id: str) -> str:
        last = self._foreground.manager.app.state.last_task(worker_id)
        return f"{worker_id}.{int(last.task_id.rpartition('.')[2]) + 1 if last else 1}"
