"""What the SDK keeps to itself and we need: in one place, to be looked at when it changes (mcp 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import MCPServer


def lowlevel(server: MCPServer) -> Server[Any]:
    """The server under the decorators.

    ``MCPServer`` offers it in no other way, and its own stdio transport cannot be cancelled: it reads in a
    thread, so that neither a signal nor a cancel scope ends it.
    """
    return server._lowlevel_server
