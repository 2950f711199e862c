"""What the SDK keeps to itself and we need: in one place, to be looked at when it changes (mcp 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import Context, MCPServer


def lowlevel(server: MCPServer) -> Server[Any]:
    """The server under the decorators.

    ``MCPServer`` offers it in no other way, and its own stdio transport cannot be cancelled: it reads in a
    thread, so that neither a signal nor a cancel scope ends it.
    """
    return server._lowlevel_server


def input_schema(server: MCPServer, tool: str) -> dict[str, Any]:
    """The very schema by which a tool is offered; an empty one where there is no such tool."""
    return server._tool_input_schema(tool) or {}


def is_cancelled_by_client(ctx: Context) -> bool:
    """Whether it was the client that cancelled a call, and not a session of the older era that ended.

    Over HTTP such a session ends when the client deletes it, or half an hour after its connection broke. In
    the newer era a client cancels by closing the connection, which nothing tells from its leaving.
    """
    session = ctx.session
    if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return True
    return bool(session._request_outbound.cancel_requested.is_set())
