"""The tools that concern tasks: give them, watch them, collect what came of them."""

from __future__ import annotations

from typing import Annotated

import attrs
import trio
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import Field

from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_mcp.answers import answer, error_text, share, task_answer
from mahavishnu_mcp.callers import refuse_workers
from mahavishnu_mcp.progress import Progress
from mahavishnu_mcp.service import Service
from mahavishnu_mcp.shapes import BatchResults, Monitored, Refusal, Results, TaskAnswer, TaskReport
from mahavishnu_mcp.tools.workers import WorkerId
from mahavishnu_mcp.watching import watch

_LONGEST_PROMPT = 2_000_000
Prompt = Annotated[str, Field(description="What the worker is to do.", max_length=_LONGEST_PROMPT)]
Timeout = Annotated[
    int | None,
    Field(description="Seconds it may take; by default the worker type's or the user's.", ge=30, le=3600),
]
Key = Annotated[
    str | None,
    Field(
        description="A name of your own for this task. Called again with it, nothing is started twice: you "
        "get the first one's task or result.",
        min_length=1,
        max_length=200,
    ),
]
WorkerIds = Annotated[
    list[WorkerId] | None, Field(description="By default all open workers.", max_length=1000)
]


@attrs.frozen
class TaskTools:
    _service: Service

    async def worker_execute(
        self,
        ctx: Context,
        worker_id: WorkerId,
        prompt: Prompt,
        timeout: Timeout = None,  # noqa: ASYNC109  # it is the task's, kept by its keeper, not ours
        wait: Annotated[
            bool, Field(description="Whether to wait for the result. false returns the task id at once.")
        ] = True,
        idempotency_key: Key = None,
    ) -> Annotated[CallToolResult, TaskAnswer]:
        """Give a worker a task. It remembers its earlier ones.

        With wait=true (the default) the answer is the result; progress is reported on the way, and cancelling
        the call ends the task. A task may take minutes: if your calls time out, use wait=false, which answers
        with the task's id at once, then worker_monitor to follow and worker_collect_results for the result. A
        task that was begun goes on when this server or you disconnect.

        CLI twin: mahavishnu workers execute --worker ID (--detach)
        """
        await refuse_workers(ctx)
        service = self._service
        service.require_room()
        begun: list[str] = []
        async with service.ending_with_the_call(ctx, begun):
            task_id = await service.submit(begun, worker_id, prompt, timeout, idempotency_key)
            service.follower.look()  # also where nobody waits: its limits are kept, and its end is seen
            if wait:
                await Progress(service, ctx).see_through(task_id)
        return task_answer(service.task_report(task_id, share(1)))

    async def worker_execute_batch(
        self,
        ctx: Context,
        worker_ids: Annotated[
            list[WorkerId],
            Field(
                description="One for each prompt. A worker named several times does its tasks in order.",
                max_length=1000,
            ),
        ],
        prompts: Annotated[list[Prompt], Field(max_length=1000)],
        timeout: Timeout = None,  # noqa: ASYNC109  # it is each task's own
        idempotency_key: Key = None,
    ) -> Annotated[CallToolResult, BatchResults]:
        """Give several workers a prompt each and wait for all results, which come by worker. A worker that is
        unknown or busy is named in refused; the others go on. Cancelling the call ends the tasks.

        If your calls time out, use worker_execute with wait=false for each, and worker_monitor.

        CLI twin: mahavishnu workers execute --worker ID ..., mahavishnu workers batch FILE
        """
        if len(worker_ids) != len(prompts):
            lengths = f"{len(worker_ids)} and {len(prompts)}"
            raise UsageError(f"worker_ids and prompts must have the same length, not {lengths}")
        await refuse_workers(ctx)
        self._service.require_room(len(prompts))
        batch = _Batch(self._service, Progress(self._service, ctx), timeout, idempotency_key)
        async with self._service.ending_with_the_call(ctx, batch.begun), trio.open_nursery() as nursery:
            for worker_id, places in _places(worker_ids).items():
                nursery.start_soon(batch.work_off, worker_id, {place: prompts[place] for place in places})
        reports = [self._service.task_report(task_id, share(len(prompts))) for task_id in batch.in_order()]
        by_worker: dict[str, list[TaskReport]] = {}
        for report in reports:
            by_worker.setdefault(report.worker_id, []).append(report)
        return answer(BatchResults(results=by_worker, refused=batch.refused), reports)

    async def worker_monitor(
        self,
        worker_ids: WorkerIds = None,
        interval: Annotated[
            float, Field(description="Seconds to wait for something new at most.", ge=0, le=30)
        ] = 1.0,
        cursor: Annotated[
            str,
            Field(
                description="The cursor of your last answer. Empty: from the beginning of the latest tasks. "
                "'latest': only what happens from now on.",
                max_length=100_000,
            ),
        ] = "",
        max_events: Annotated[int, Field(description="In one answer.", ge=1, le=1000)] = 100,
    ) -> Annotated[CallToolResult, Monitored]:
        """See how workers stand and what has happened since the cursor. The call waits up to interval seconds
        for something new, so with interval=20 you may call it in a loop without wasting calls. Stop when
        all_ended is true, and get the results with worker_collect_results.

        CLI twin: mahavishnu workers monitor
        """
        return answer(await watch(self._service, worker_ids, interval, cursor, max_events))

    async def worker_collect_results(
        self, worker_ids: WorkerIds = None
    ) -> Annotated[CallToolResult, Results]:
        """The latest task of each worker: its result if it has ended, else how far it is. Also for closed
        workers that you name, and after a restart; as often as you like.

        CLI twin: mahavishnu workers results
        """
        service = self._service
        await service.manager.recover()
        service.follower.look()
        latest = {worker_id: service.state.last_task(worker_id) for worker_id in service.known(worker_ids)}
        given = {worker_id: task.task_id for worker_id, task in latest.items() if task is not None}
        room = share(len(given))
        results = {worker_id: service.task_report(task_id, room) for worker_id, task_id in given.items()}
        without = [worker_id for worker_id, task in latest.items() if task is None]
        return answer(Results(results=results, without_task=without), results.values())


@attrs.define(eq=False)
class _Batch:
    """The tasks of one call as far as they were given."""

    _service: Service
    _progress: Progress
    _timeout: int | None
    _key: str | None
    begun: list[str] = attrs.field(factory=list)
    refused: list[Refusal] = attrs.field(factory=list)
    _by_place: dict[int, str] = attrs.field(factory=dict)

    async def work_off(self, worker_id: str, prompts: dict[int, str]) -> None:
        """One worker's tasks, one after the other."""
        for place, prompt in prompts.items():
            key = None if self._key is None else f"{self._key}#{place}"
            try:
                task_id = await self._service.submit(self.begun, worker_id, prompt, self._timeout, key)
                self._by_place[place] = task_id
                await self._progress.see_through(task_id)
            except MahavishnuError as error:
                self.refused.append(Refusal(worker_id=worker_id, error=error_text(error)))

    def in_order(self) -> list[str]:
        return [self._by_place[place] for place in sorted(self._by_place)]


def _places(worker_ids: list[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, worker_id in enumerate(worker_ids):
        places.setdefault(worker_id, []).append(place)
    return places
