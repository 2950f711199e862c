"""Streamable HTTP under Trio: where it listens, and a bounded number of connections."""

from __future__ import annotations

import ipaddress
import math
import socket
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp.connection import Connection
from mahavishnu_mcp.guard import LONGEST_BODY, Guard, security_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mcp.server.mcpserver import MCPServer
    from starlette.types import ASGIApp

PATH = "/mcp"
_MOST_CONNECTIONS = 512
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@attrs.frozen
class Address:
    """Where to listen, and by which names clients may ask for it."""

    host: str
    port: int
    allowed_hosts: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def require_explicit(self, token: str | None) -> None:
        """Raises UsageError for an open door without a key of the user's own and a name on it."""
        if self.is_loopback or (token and self.allowed_hosts):
            return
        raise UsageError(
            f"{self.host!r} can be reached from other machines: set MAHAVISHNU_MCP_TOKEN to a token of your "
            "own and name this machine with --allowed-host, or leave --host out"
        )

    def listen(self) -> socket.socket:
        """Raises UsageError where that address cannot be had."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            with ExitStack() as stack:
                listening = stack.enter_context(socket.socket(family, kind, protocol))
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen(128)
                stack.pop_all()
        except (OSError, UnicodeError) as error:  # UnicodeError for what can be no name of a host
            why = getattr(error, "strerror", None) or "that is no name of a host"
            raise UsageError(f"cannot listen on {self.host}, port {self.port}: {why}") from error
        return listening

    def names(self, port: int) -> tuple[str, ...]:
        """What a Host header may say."""
        own = _LOOPBACK_NAMES if self.is_loopback else ()
        with_port = [f"{name}:{port}" for name in own]
        given = [form for name in self.allowed_hosts for form in (name, f"{name}:{port}")]
        return (*with_port, *given)


@asynccontextmanager
async def open_http(server: MCPServer, address: Address, token: str) -> AsyncIterator[str]:
    """Serve within the block; its URL. Requests that are under way at its end are cancelled."""
    with address.listen() as listening:
        port = listening.getsockname()[1]
        security = security_for(address.names(port))
        app = server.streamable_http_app(
            streamable_http_path=PATH,
            host=address.host,
            transport_security=security,
            max_request_body_size=LONGEST_BODY,
        )
        connections = _Connections(Guard(app, token, security))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with server.session_manager.run(), trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, connections.serve, [listener]))
            host = f"[{address.host}]" if ":" in address.host else address.host
            yield f"http://{host}:{port}{PATH}"
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Connections:
    """The open connections. Of those without a request the longest idle one makes room for a new one."""

    _app: ASGIApp
    _open: dict[Connection, trio.CancelScope] = attrs.field(init=False, factory=dict)

    async def serve(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= _MOST_CONNECTIONS and not self._make_room():
            await stream.aclose()
            return
        ends = _end(stream.socket.getpeername), _end(stream.socket.getsockname)
        connection = Connection(stream, self._app, *ends)
        with trio.CancelScope() as scope:
            self._open[connection] = scope
            try:
                await connection.serve()
            finally:
                self._open.pop(connection, None)

    def _make_room(self) -> bool:
        idle = min(self._open, key=lambda each: each.waits_since)
        if math.isinf(idle.waits_since):
            return False
        self._open.pop(idle).cancel()
        return True


def _end(name: Callable[[], tuple[str, int]]) -> tuple[str, int] | None:
    """The address of one end of a connection; None for a client that has gone."""
    try:
        host, port, *_ = name()
    except OSError:
        return None
    return host, port
