"""The server as a client sees it: tools, resources, prompts, completions, and what plugins add."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import ValidationError

from mahavishnu_core import __version__
from mahavishnu_core.exits import parted
from mahavishnu_core.settings import did_you_mean
from mahavishnu_core.text import one_line
from mahavishnu_mcp.completions import add_completions
from mahavishnu_mcp.prompts import INSTRUCTIONS, add_prompts
from mahavishnu_mcp.resources import add_resources
from mahavishnu_mcp.sdk import input_schema
from mahavishnu_mcp.service import Roots, Service, open_service
from mahavishnu_mcp.subscriptions import Subscriptions, add_subscriptions
from mahavishnu_mcp.task_handles import TaskHandles
from mahavishnu_mcp.tools import add_tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from mahavishnu_core.app import App

_MOST_FAULTS = 5
_WIDTH = 80
"""Characters of a name that somebody made up."""
_log = logging.getLogger(__name__)


class Server(MCPServer):
    """The SDK's server, in which nothing silently replaces anything, and no argument is left unheeded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as the SDK's
        self._taken: set[str] = set()
        super().__init__(*args, **kwargs)

    def add_tool(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as the SDK's
        """Raises ValueError for a name that is taken. A tool takes the arguments that it has, and no more."""
        name = str(kwargs.get("name") or (args[0] if args else None) or getattr(fn, "__name__", ""))
        if name in self._taken:
            raise ValueError(f"there is a tool {name!r} already")
        super().add_tool(fn, *args, **kwargs)
        self._taken.add(name)
        input_schema(self, name)["additionalProperties"] = False

    async def call_tool(self, name: str, arguments: dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as the SDK's
        """As the SDK's, but unknown arguments are refused, and what is wrong with any is said in one line."""
        if strangers := _strangers(arguments, input_schema(self, name)):
            raise ToolError(f"Error executing tool {name}: {_in_one_line(strangers)}")
        try:
            return await super().call_tool(name, arguments, *args, **kwargs)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                text = _in_one_line(_faults(error.__cause__))
                raise ToolError(f"Error executing tool {name}: {text}") from error.__cause__
            raise
        except BaseException as error:  # noqa: ASYNC103  # cancelling passes
            exits, others = parted(error)
            if exits is None or others is not None:
                raise
            raise ToolError(f"Error executing tool {name}: {type(exits).__name__}") from exits  # noqa: ASYNC104

    async def get_prompt(self, name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as the SDK's
        """As the SDK's, but an unknown name and a missing argument are the client's mistakes."""
        try:
            return await super().get_prompt(name, *args, **kwargs)
        except ValueError as error:
            if error.__cause__ is None or error.__cause__.__cause__ is None:
                raise MCPError(INVALID_PARAMS, one_line(str(error))) from error
            raise  # one that has crashed: its text is not for the client


def _strangers(arguments: Collection[str], schema: Mapping[str, Any]) -> list[str]:
    """What is to be said of arguments that are not in a tool's schema: the SDK would go on without them."""
    known: Collection[str] = schema.get("properties", arguments)
    strange = [name for name in arguments if name not in known]
    return [f"{one_line(name, _WIDTH)}: is not an argument{did_you_mean(name, known)}" for name in strange]


def _faults(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]


def _in_one_line(faults: list[str]) -> str:
    more = len(faults) - _MOST_FAULTS
    return one_line("; ".join(faults[:_MOST_FAULTS])) + (f"; and {more} more" if more > 0 else "")


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
