"""What the tests of the transports share: an ASGI client, a bare server, clients of it, and tokens."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import httpx2
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer

TOKEN = "correct-horse-battery-staple"
BEARER = (b"authorization", b"Bearer " + TOKEN.encode())
ERAS = ("legacy", "2026-07-28")
PATIENCE = 30.0
"""Seconds for what takes a fraction of one."""
UNCLOSED = "ignore:Async generator 'http(x|core)2:ResourceWarning"
"""What mcp 2.3's client leaves behind over HTTP; for tests with ``open_client``, which takes it away."""

Headers = Iterable[tuple[bytes, bytes]]


@attrs.frozen
class Answer:
    """What an application answered, without any network between."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app, *headers: tuple[bytes, bytes], body: bytes = b"", path: str = "/mcp", query: bytes = b""
) -> Answer | None:
    """Post to an application; None where it answers nothing."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": list(headers),
    }
    given = [{"type": "http.request", "body": body, "more_body": False}]
    said: list[dict] = []

    async def receive():
        return given.pop() if given else await trio.sleep_forever()

    async def send(message):
        said.append(message)

    await app(scope, receive, send)
    if not said:
        return None
    names = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], names, b"".join(each.get("body", b"") for each in said))


def bare_server() -> MCPServer:
    """A server with one tool, on which nothing but a transport is tested."""
    server = MCPServer("bare", log_level="WARNING")

    @server.tool()
    async def double(number: int) -> int:
        return 2 * number

    return server


@asynccontextmanager
async def open_client(url: str, mode: str = "legacy", token: str = TOKEN) -> AsyncIterator[Client]:
    """The SDK's own client, with a token."""
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE, verify=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client
    gc.collect()


async def require_service(url: str, mode: str = "legacy") -> None:
    """Fail where a good client is not served."""
    with trio.fail_after(PATIENCE):
        async with open_client(url, mode) as client:
            result = await client.call_tool("double", {"number": 21})
            assert result.structured_content == {"result": 42}
