"""The stdio transport: nothing but the protocol on the client's pipe, and an end at any time.

The SDK's own reads in a thread, which no signal and no cancel scope ends (seen in mcp 2.3.0).
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio
import mcp_types
import trio
from mcp.shared.message import SessionMessage

from mahavishnu_core.stream import LineSplitter, LongLine
from mahavishnu_core.text import escape_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    Incoming: TypeAlias = SessionMessage | Exception
    Streams: TypeAlias = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]

LONGEST_LINE = 16 * 1024 * 1024
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


def take_over(stdin: int = 0, stdout: int = 1, stderr: int = 2) -> tuple[int, int]:
    """Descriptors for the client's pipe, in place of those that the program began with.

    From now on standard input is empty and standard output is standard error: what plugins and children print
    is not taken for protocol. To be called before Trio runs, and before any code of a plugin that prints.
    """
    source, sink = os.dup(stdin), os.dup(stdout)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, stdin)
    os.close(null)
    os.dup2(stderr, stdout)
    return source, sink


@asynccontextmanager
async def open_stdio(taken: tuple[int, int], on_end: Callable[[], None]) -> AsyncIterator[Streams]:
    """The client's messages and ours, over what ``take_over`` gave; it is closed at the end of the block.

    ``on_end`` is called when the client has gone, before its calls are cancelled.
    """
    source, sink = map(trio.lowlevel.FdStream, taken)
    incoming, for_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    from_server, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with source, sink, for_server, from_server, trio.open_nursery() as nursery:

        def leave() -> None:
            on_end()
            nursery.cancel_scope.cancel()

        nursery.start_soon(_read, source, incoming, on_end)
        nursery.start_soon(_write, sink, outgoing, leave)
        yield for_server, from_server
        nursery.cancel_scope.cancel()


async def _read(
    source: trio.lowlevel.FdStream,
    incoming: MemoryObjectSendStream[Incoming],
    on_end: Callable[[], None],
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
    leave: Callable[[], None],
) -> None:
    async with outgoing:
        async for each in outgoing:
            try:
                await sink.send_all(_line(each))
            except trio.BrokenResourceError:  # nobody reads any more
                leave()
                return


def _line(message: SessionMessage) -> bytes:
    try:
        text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:  # half a surrogate pair, from a tool of a plugin
        text = json.dumps(message.message.model_dump(mode="json", by_alias=True, exclude_unset=True))
    return escape_json(text).encode() + b"\n"  # one line also for whoever ends lines at U+2028
