"""Ways to a server: over HTTP with limits of our own, or over the standard streams of one that we start."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import trio

from mahavishnu_session_buddy.errors import MirrorError, Unreachable
from mahavishnu_session_buddy.target import TOKEN_VARIABLE, Target, address_of, nothing_listens

if TYPE_CHECKING:
    import httpx2
    from mcp import Client

CONNECT_PATIENCE = 10.0
"""Seconds in which a server that listens has to greet us."""
CALL_PATIENCE = 75.0
"""Seconds for a call: the first store of a new home takes 7 s, one beside a hanging embedder 60 (0.23.0)."""
CLOSE_PATIENCE = 5.0
"""Seconds for taking leave: whoever does not answer any more is left."""
_MOST_BYTES = 8 << 20
"""Of one answer over HTTP; no right one has a tenth of that."""

logging.getLogger("mcp").addHandler(logging.NullHandler())  # what it would say to the user, we do


def connected(target: Target, home: Path, refusals: list[int]) -> AbstractAsyncContextManager[Client]:
    """The SDK's client, connected. Raises whatever the SDK does, in groups, and MirrorError.

    ``home`` is the working directory of a server that is started. Each HTTP status that says no goes into
    ``refusals``, since the SDK does not tell it.
    """
    return _started(target, home) if target.command else _reached(target, refusals)


@asynccontextmanager
async def _started(target: Target, home: Path) -> AsyncIterator[Client]:
    await _load_sdk()
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    program, *arguments = target.command
    parameters = StdioServerParameters(command=program, args=arguments, cwd=home)
    with _log_in(home) as log:
        async with Client(stdio_client(parameters, log)) as client:
            yield client


@asynccontextmanager
async def _reached(target: Target, refusals: list[int]) -> AsyncIterator[Client]:
    await require_listener(target.url)
    await _load_sdk()
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async with (
        _http_client(target, refusals) as http,
        Client(streamable_http_client(target.url, http_client=http)) as client,
    ):
        yield client


def _http_client(target: Target, refusals: list[int]) -> httpx2.AsyncClient:
    import httpx2

    async def look(response: httpx2.Response) -> None:
        await trio.lowlevel.checkpoint()
        if response.is_error and response.request.method == "POST":
            refusals.append(response.status_code)
        response.stream = _bounded(response.stream)

    return httpx2.AsyncClient(
        headers=_headers(target.token),
        timeout=httpx2.Timeout(CONNECT_PATIENCE, read=CALL_PATIENCE + CLOSE_PATIENCE),
        event_hooks={"response": [look]},
        trust_env=False,  # a proxy that variables name would get the token, and is not on the way to loopback
        verify=ssl.create_default_context(),
    )


def _headers(token: str) -> dict[str, str]:
    """Raises MirrorError for a token that no header can hold: the SDK would show it."""
    if not (token.isascii() and token.isprintable()):
        raise MirrorError(
            f"the value of {TOKEN_VARIABLE} has characters that cannot be sent, a line end say", "set it anew"
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def _bounded(stream: httpx2.AsyncByteStream | httpx2.SyncByteStream) -> httpx2.AsyncByteStream:
    """The stream, which ends with an error where it is longer than any right answer."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in stream:  # type: ignore[union-attr]  # the client is an asynchronous one
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise httpx2.ReadError("the answer is too long")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()  # type: ignore[union-attr]

    return Bounded()


async def require_listener(url: str) -> None:
    """Raises Unreachable; the SDK would say only that all attempts have failed."""
    try:
        await (await trio.open_tcp_stream(*address_of(url))).aclose()
    except (OSError, ValueError) as error:
        raise Unreachable(*nothing_listens(url)) from error


async def _load_sdk() -> None:
    """It takes a second: the loop goes on meanwhile."""
    await trio.to_thread.run_sync(import_module, "mcp")


def _log_in(home: Path) -> TextIO:
    """What a server that we start says on its standard error: that of the last one, for its owner alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.fdopen(os.open(home / "server.log", flags, 0o600), "w")
