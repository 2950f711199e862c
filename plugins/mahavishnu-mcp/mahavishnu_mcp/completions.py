"""Completion of ids and names in resource templates and prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from mcp_types import Completion

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from mcp_types import (
        CompletionArgument,
        CompletionContext,
        PromptReference,
        ResourceTemplateReference,
    )

    from mahavishnu_mcp.service import Service

_MOST = 100
"""As the protocol has it."""


def add_completions(server: MCPServer, service: Service) -> None:
    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # untyped in mcp 2.3
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        await trio.lowlevel.checkpoint()
        found = [name for name in _names(service, argument.name) if name.startswith(argument.value)]
        return Completion(values=found[:_MOST], total=len(found), has_more=len(found) > _MOST)


def _names(service: Service, argument: str) -> list[str]:
    """What an argument of that name may be; the newest first."""
    state = service.state
    match argument:
        case "worker_id" | "worker_ids":
            return [worker.worker_id for worker in reversed(state.workers(with_closed=True))]
        case "task_id":
            workers = reversed(state.workers(with_closed=True))
            return [task.task_id for worker in workers for task in reversed(state.tasks(worker.worker_id))]
        case "worker_type":
            entries = service.manager.app.catalog.entries
            return [entry.type.name for entry in entries if not entry.unavailable and not entry.type.standing]
    return []
