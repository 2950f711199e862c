"""The stdio transport: nothing but the protocol on the client's pipe, and an end at any time.

The SDK's own reads in a thread, which no signal and no cancel scope ends (seen in mcp 2.3.0).
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio
import mcp_types
import trio
from mcp.shared.message import SessionMessage

from mahavishnu_core.stream import LineSplitter, LongLine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    Incoming: TypeAlias = SessionMessage | Exception
    Streams: TypeAlias = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]

LONGEST_LINE = 16 * 1024 * 1024
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_stdio(on_end: Callable[[], None]) -> AsyncIterator[Streams]:
    """The client's messages and ours, over the standard streams as they were when the program began.

    Within the block, descriptor 0 is empty and 1 is standard error: what children and plugins print is not
    taken for protocol. ``on_end`` is called when the client has gone, before its calls are cancelled.
    """
    source, sink = _take_over()
    incoming, for_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    from_server, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with source, sink, trio.open_nursery() as nursery:
        nursery.start_soon(_read, source, incoming, on_end)
        nursery.start_soon(_write, sink, outgoing, on_end)
        yield for_server, from_server
        nursery.cancel_scope.cancel()


def _take_over() -> tuple[trio.lowlevel.FdStream, trio.lowlevel.FdStream]:
    streams = trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return streams


async def _read(
    source: trio.lowlevel.FdStream, incoming: MemoryObjectSendStream[Incoming], on_end: Callable[[], None]
) -> None:
    async with incoming:
        lines = LineSplitter(LONGEST_LINE)
        while chunk := await _receive(source):
            for line in lines.feed(chunk):
                if isinstance(line, LongLine) or line.strip():
                    await incoming.send(_message(line))
        on_end()


async def _receive(source: trio.lowlevel.FdStream) -> bytes:
    try:
        return bytes(await source.receive_some(_CHUNK))
    except trio.BrokenResourceError:  # a terminal that was hung up
        return b""


def _message(line: bytes | LongLine) -> Incoming:
    if isinstance(line, LongLine):
        _log.warning("a message of %d bytes is refused: %d is the most", line.size, LONGEST_LINE)
        return ValueError("too long")
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        _log.warning("a line of %d bytes is no message", len(line))
        return error


async def _write(
    sink: trio.lowlevel.FdStream,
    outgoing: MemoryObjectReceiveStream[SessionMessage],
    on_end: Callable[[], None],
) -> None:
    async with outgoing:
        async for each in outgoing:
            line = each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                await sink.send_all(line)
            except trio.BrokenResourceError:  # nobody reads any more
                on_end()
                return
