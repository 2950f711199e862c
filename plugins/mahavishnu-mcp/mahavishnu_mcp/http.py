"""Streamable HTTP under Trio: a bounded number of connections, each carried by hypercorn."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp.guard import Guard, security_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hypercorn.typing import ASGIFramework
    from mcp.server.mcpserver import MCPServer

PATH = "/mcp"
_MOST_CONNECTIONS = 512
_IDLE = 20.0
"""Seconds after which a connection without a request is closed."""
_BODY = 4 * 1024 * 1024
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
            listening = socket.socket(family, kind, protocol)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            raise UsageError(f"cannot listen on {self.host}, port {self.port}: {error.strerror}") from error
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
            max_request_body_size=_BODY,
        )
        connections = _Connections(Guard(app, token, security))
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with server.session_manager.run(), trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, connections.serve, [listener]))
            host = f"[{address.host}]" if ":" in address.host else address.host
            yield f"http://{host}:{port}{PATH}"
            nursery.cancel_scope.cancel()


class _Connections:
    """The open connections. hypercorn's own server takes any number, so each is handed to it one by one."""

    def __init__(self, guard: Guard) -> None:
        self._config = Config()
        self._config.keep_alive_timeout = _IDLE
        self._config.h11_max_incomplete_size = 64 * 1024
        self._config.accesslog = None
        self._app = wrap_app(cast("ASGIFramework", guard), self._config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        if self._open >= _MOST_CONNECTIONS:
            await stream.aclose()
            return
        self._open += 1
        try:
            # it takes a plain stream as well as one with TLS (seen in hypercorn 0.18)
            secured = cast("trio.SSLStream[trio.SocketStream]", stream)
            await TCPServer(self._app, self._config, self._context, ConnectionState({}), secured)
        finally:
            self._open -= 1
