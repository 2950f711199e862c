"""Tasks carried out in the foreground: a few at a time, shown as they go, ended when a signal comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from mahavishnu_cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mahavishnu_cli.progress import Progress
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_core import WorkerManager, WorkerResult

    Job: TypeAlias = Callable[[], Awaitable[None]]


@attrs.define(eq=False)
class Foreground:
    """Does jobs with a manager. A signal ends what runs, a second one at once."""

    manager: WorkerManager
    progress: Progress
    interrupts: Interrupts
    _recovery: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def execute(
        self, worker_id: str, prompt: str, timeout_seconds: float | None
    ) -> WorkerResult | None:
        """Give a worker a task and see it through; None when a signal came first."""
        if self.interrupts.number is not None:
            return None
        self.progress.begin(worker_id)
        result = await self.manager.execute_task(worker_id, prompt, timeout_seconds=timeout_seconds)
        self.progress.end(result)
        return result

    async def follow(self, worker_id: str) -> WorkerResult | None:
        """See through what a worker is doing for an engine that is gone; None if it has ended already."""
        results: list[WorkerResult] = []
        self.progress.begin(worker_id)
        await self.manager.follow([worker_id], results.append)
        for result in results:
            self.progress.end(result)
        return results[0] if results else None

    async def do(self, jobs: Iterable[Job], width: int) -> None:
        """Do all jobs, ``width`` at a time: there is never a Trio task for one that waits."""
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                if self.interrupts.number is not None:
                    return
                await job()

        self.interrupts.answer = self._answer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.progress.run)
            with self.manager.listening(self.progress.notice):
                await self._work_off(width, work)
            nursery.cancel_scope.cancel()

    async def _work_off(self, width: int, work: Job) -> None:
        async with trio.open_nursery() as working:
            working.start_soon(self._recover)
            await trio.lowlevel.checkpoint()  # it has looked what there is, before we add to it
            for _ in range(width):
                working.start_soon(work)

    async def _recover(self) -> None:
        """Settle and store meanwhile what ended while no engine looked."""
        with self._recovery:
            await self.manager.recover()

    async def _answer(self) -> None:
        self._recovery.cancel()
        if self.interrupts.count == 1:
            say("cancelling (again to kill at once)")
            await self.manager.cancel_tasks()
        else:
            await self.manager.cancel_tasks(grace_seconds=0)
