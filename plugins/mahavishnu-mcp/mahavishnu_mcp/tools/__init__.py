"""The tools: nine of ours, and those that plugins add."""

from __future__ import annotations

from functools import wraps
from inspect import cleandoc
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from mahavishnu_core.errors import MahavishnuError, leaves
from mahavishnu_core.text import one_line
from mahavishnu_mcp.answers import error_text
from mahavishnu_mcp.tools.tasks import TaskTools
from mahavishnu_mcp.tools.workers import WorkerTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver import MCPServer

    from mahavishnu_mcp.service import Service

P = ParamSpec("P")
T = TypeVar("T")

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_WORKS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)
_ENDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


def add_tools(server: MCPServer, service: Service) -> None:
    """Add the nine tools. What can be said to a client in one line is said; other errors stay in the log."""
    workers, tasks = WorkerTools(service), TaskTools(service)
    offered: list[tuple[Callable[..., Awaitable[object]], str, ToolAnnotations]] = [
        (workers.worker_spawn, "Spawn workers", _ADDS),
        (tasks.worker_execute, "Give a worker a task", _WORKS),
        (tasks.worker_execute_batch, "Give several workers tasks", _WORKS),
        (workers.worker_list, "List workers", _READS),
        (tasks.worker_monitor, "Watch workers", _READS),
        (tasks.worker_collect_results, "Collect results", _READS),
        (workers.worker_close, "Close a worker", _ENDS),
        (workers.worker_close_all, "Close all workers", _ENDS),
        (workers.worker_health, "Health of the workers", _READS),
    ]
    for function, title, hints in offered:
        description = cleandoc(function.__doc__ or "")
        server.add_tool(_told(function), title=title, description=description, annotations=hints)


def _told(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except* MahavishnuError as group:
            message = "; ".join(dict.fromkeys(map(error_text, leaves(group))))
        raise ToolError(one_line(message))

    return call
