"""The server as a client sees it: tools, resources, prompts, completions, and what plugins add."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from mcp.server.mcpserver import MCPServer

from mahavishnu_core import __version__
from mahavishnu_mcp.completions import add_completions
from mahavishnu_mcp.prompts import INSTRUCTIONS, add_prompts
from mahavishnu_mcp.resources import add_resources
from mahavishnu_mcp.service import Roots, Service, open_service
from mahavishnu_mcp.subscriptions import Subscriptions, add_subscriptions
from mahavishnu_mcp.task_handles import TaskHandles
from mahavishnu_mcp.tools import add_tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mahavishnu_core.app import App

_log = logging.getLogger(__name__)


class Server(MCPServer):
    """The SDK's server, in which nothing silently replaces anything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as the SDK's
        self._taken: set[str] = set()
        super().__init__(*args, **kwargs)

    def add_tool(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as the SDK's
        """Raises ValueError for a name that is taken."""
        name = str(kwargs.get("name") or (args[0] if args else None) or getattr(fn, "__name__", ""))
        if name in self._taken:
            raise ValueError(f"there is a tool {name!r} already")
        super().add_tool(fn, *args, **kwargs)
        self._taken.add(name)


@asynccontextmanager
async def open_server(app: App, roots: Roots) -> AsyncIterator[tuple[MCPServer, Service]]:
    """A server and what it works on, for as long as the block lasts. Raises StateDirError."""
    async with open_service(app, roots) as service, trio.open_nursery() as nursery:
        subscriptions = Subscriptions()
        nursery.start_soon(subscriptions.tell_changes, service)
        yield build_server(service, subscriptions), service
        nursery.cancel_scope.cancel()


def build_server(service: Service, subscriptions: Subscriptions) -> MCPServer:
    handles = TaskHandles(service)
    server = Server(
        "mahavishnu",
        title="Mahavishnu",
        version=__version__,
        instructions=INSTRUCTIONS,
        log_level="WARNING",
        subscriptions=subscriptions,
        extensions=[handles],
        middleware=[handles.middleware()],
    )
    add_tools(server, service)
    add_resources(server, service)
    add_prompts(server)
    add_completions(server, service)
    add_subscriptions(server, subscriptions)
    host = service.manager.app.host
    known = set(host.refused)
    host.all("register_tools", server=server)
    for refused in host.refused:
        if refused not in known:
            _log.warning("%s", refused)
    return server
