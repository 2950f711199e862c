"""The tools that concern workers: spawn, list, close, health."""

from __future__ import annotations

from typing import Annotated

import attrs
import trio
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult
from pydantic import Field

from mahavishnu_core.errors import MahavishnuError
from mahavishnu_mcp.answers import answer
from mahavishnu_mcp.callers import refuse_workers
from mahavishnu_mcp.notices import telling_notices
from mahavishnu_mcp.service import Service
from mahavishnu_mcp.shapes import AllClosed, Closed, Remnant, ServerHealth, Spawned, WorkerList

WorkerId = Annotated[str, Field(description="As worker_spawn or worker_list gave it.", max_length=100)]


@attrs.frozen
class WorkerTools:
    _service: Service

    async def worker_spawn(
        self,
        ctx: Context,
        worker_type: Annotated[
            str | None,
            Field(
                description="The kind of worker, e.g. terminal-claude, terminal-qwen (AI agents) or shell (a "
                "command line). Leave it out for the user's default.",
                max_length=100,
            ),
        ] = None,
        count: Annotated[int, Field(description="How many.", ge=1, le=50)] = 1,
        repo: Annotated[
            str | None,
            Field(
                description="Directory they work in, by default the server's own. Those in one directory "
                "see each other's changes.",
                max_length=4096,
            ),
        ] = None,
    ) -> Spawned:
        """Make workers ready and get their ids. A worker is a headless agent (Claude Code, Qwen Code, a shell
        ...) with a conversation of its own, which remembers its earlier tasks. It costs nothing while it has
        no task. Give it one with worker_execute; close it when you do not need it any more.

        CLI twin: mahavishnu workers spawn
        """
        await refuse_workers(ctx)
        service = self._service
        service.require_room()
        app = service.manager.app
        kind = worker_type or app.loaded.settings.worker_default_type
        workspace = service.roots.workspace(repo)
        async with telling_notices(service.manager, ctx):
            ids = await service.manager.spawn_workers(kind, count, repo=workspace)
        return Spawned(worker_ids=ids)

    async def worker_list(self) -> Annotated[CallToolResult, WorkerList]:
        """List the open workers with what each is doing: status (pending, starting, running, completed,
        failed, timeout, cancelled), its latest task, time, tokens, cost. Workers of other programs are among
        them.

        CLI twin: mahavishnu workers list
        """
        await trio.lowlevel.checkpoint()
        self._service.follower.look()
        return answer(WorkerList(workers=self._service.lines()))

    async def worker_close(self, worker_id: WorkerId) -> Closed:
        """End a worker: a task under way is cancelled, with every process that it started. Results stay.

        CLI twin: mahavishnu workers close ID
        """
        was_open = await self._service.manager.close_worker(worker_id)
        ids = [worker_id]
        return Closed(closed=ids if was_open else [], already_closed=[] if was_open else ids)

    async def worker_close_all(self) -> AllClosed:
        """End every open worker, also those that other programs have spawned, and remove what is left over
        from workers that are gone. Results stay. To end only your own, close each with worker_close.

        CLI twin: mahavishnu workers close --all
        """
        manager = self._service.manager
        done = await manager.close_workers(worker.worker_id for worker in self._service.state.workers())
        if done.failures:
            failures = [f"worker {each!r} cannot be closed: {error}" for each, error in done.failures.items()]
            raise MahavishnuError("; ".join([f"{len(done.closed)} closed", *sorted(failures)]))
        swept = await manager.sweep(remove=True)
        return AllClosed(
            closed=list(done.closed),
            already_closed=list(done.closed_before),
            removed=[Remnant(**attrs.asdict(leftover)) for leftover in swept.leftovers],
            not_swept=list(swept.failures),
        )

    async def worker_health(self) -> ServerHealth:
        """How the workers are doing, taken together: how many run, wait, may run at once, whether a storage
        lags behind or cannot send results on, what is left over from workers that are gone, and which files
        of workers are damaged (any of these: degraded).

        CLI twin: mahavishnu workers health
        """
        health = await self._service.manager.health()
        return ServerHealth(**attrs.asdict(health))
