"""The transport over standard streams, on pipes of this process: what comes in, what gets out, the end."""

from __future__ import annotations

import json
import logging
import os
import pty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse
from trio.lowlevel import FdStream
from trio.testing import wait_all_tasks_blocked

from mahavishnu_mcp.sdk import lowlevel
from mahavishnu_mcp.stdio import LONGEST_LINE, open_stdio, take_over

from .serving import ERAS, PATIENCE, bare_server

PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@attrs.define
class Ends:
    """Both ends of the standard streams: descriptors of a program, and the client's streams."""

    stdin: int
    stdout: int
    stderr: int
    to: FdStream
    out: FdStream
    err: FdStream
    held: bytes = b""

    async def line(self) -> bytes:
        """The next line that comes out."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self.held:
                self.held += await self.out.receive_some(1 << 16) or pytest.fail("closed")
        line, _, self.held = self.held.partition(b"\n")
        return line

    async def ask(self, id: int, method: str, params: dict[str, object]) -> dict:
        """A request, and what is answered to it next."""
        request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        await self.to.send_all(json.dumps(request).encode() + b"\n")
        answer = json.loads(await self.line())
        assert answer["id"] == id
        return answer


@contextmanager
def three_pipes() -> Iterator[Ends]:
    (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    streams = [FdStream(end) for end in (to, out, err)]
    try:
        yield Ends(stdin, stdout, stderr, *streams)
    finally:
        for stream in streams:
            stream.close()
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    with three_pipes() as made:
        yield made


@asynccontextmanager
async def opened(ends: Ends, on_end: Callable[[], None] = lambda: None) -> AsyncIterator[tuple]:
    taken = take_over(ends.stdin, ends.stdout, ends.stderr)
    with trio.fail_after(PATIENCE):
        async with open_stdio(taken, on_end) as streams:
            yield streams


@asynccontextmanager
async def served(ends: Ends) -> AsyncIterator[None]:
    """A server on these ends within the block."""
    own = lowlevel(bare_server())
    async with opened(ends) as (incoming, outgoing), trio.open_nursery() as nursery:
        nursery.start_soon(own.run, incoming, outgoing, own.create_initialization_options())
        yield
        nursery.cancel_scope.cancel()


def answer(text: str = "fine") -> SessionMessage:
    return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": text}))


async def messages(incoming, count: int) -> list[object]:
    """What comes in next: the method of each message, or an error."""
    with trio.fail_after(PATIENCE):
        found = [await incoming.receive() for _ in range(count)]
    return [each if isinstance(each, Exception) else each.message.method for each in found]


# --- taking the streams over


async def test_what_is_printed_goes_to_standard_error_and_standard_input_is_empty(ends):
    source, sink = take_over(ends.stdin, ends.stdout, ends.stderr)
    try:
        await ends.to.send_all(PING)
        assert os.read(ends.stdin, 100) == b""
        os.write(ends.stdout, b"print")
        assert await ends.err.receive_some(100) == b"print"
        assert os.read(source, 100) == PING
        os.write(sink, b"{}")
        assert await ends.out.receive_some(100) == b"{}"
    finally:
        os.close(source)
        os.close(sink)


# --- what comes in


async def test_messages_come_in_whatever_the_chunks(ends):
    sent = PING + b"\n  \n" + PING.replace(b"\n", b"\r\n") + PING
    async with opened(ends) as (incoming, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for byte in sent:
                await ends.to.send_all(bytes([byte]))
            await ends.to.send_all(sent)

        assert await messages(incoming, 6) == ["ping"] * 6


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello",
        b"{",
        b"null",
        b"[]",
        b"[" + PING.strip() + b"]",
        b"\xff\xfe\x00",
        b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"[" * 100_000,
        b"Content-Length: 20\r",
        b"\x1b]0;title\x07",
    ],
    ids=range(11),
)
async def test_what_is_no_message_is_told_by_its_size_and_the_next_is_read(ends, garbage, caplog):
    async with opened(ends) as (incoming, _):
        await ends.to.send_all(garbage + b"\n" + PING)
        error, method = await messages(incoming, 2)
    assert isinstance(error, ValueError)
    assert method == "ping"
    assert caplog.messages == [f"a line of {len(garbage.rstrip(bytes([13])))} bytes is no message"]


@pytest.mark.parametrize(("more", "is_let_in"), [(0, True), (1, False), (4_000_000, False)])
async def test_a_message_is_bounded(ends, nursery, caplog, more, is_let_in):
    rest = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": ""}}'
    line = rest.replace(b'""', b'"' + b"x" * (LONGEST_LINE - len(rest) + more) + b'"')
    async with opened(ends) as (incoming, _):
        nursery.start_soon(ends.to.send_all, line + b"\n" + PING)
        first, second = await messages(incoming, 2)
    assert (first == "ping") is is_let_in
    assert second == "ping"
    refused = [] if is_let_in else [f"a message of {len(line)} bytes is refused: {LONGEST_LINE} is the most"]
    assert caplog.messages == refused


@pytest.mark.thorough
@given(
    chunks=st.lists(st.binary(max_size=30) | st.sampled_from([PING, b"\n", b"\r", b"{", b"}"]), max_size=8)
)
@example(chunks=[b"\xef\xbb\xbf", PING])
def test_no_bytes_are_fatal(chunks):
    async def attack() -> None:
        with three_pipes() as ends:
            async with opened(ends) as (incoming, _), trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    for chunk in chunks:
                        await ends.to.send_all(chunk)
                    await ends.to.send_all(b"\n" + PING.replace(b"ping", b"last"))

                while await messages(incoming, 1) != ["last"]:
                    pass

    logging.disable()
    try:
        trio.run(attack)
    finally:
        logging.disable(logging.NOTSET)


# --- what gets out


async def test_a_message_is_a_line(ends):
    async with opened(ends) as (_, outgoing):
        for text in ("one\ntwo\r\n", "\u2028\x85\x9b31m\x1b[31m\u202e", "ünïcödé \U0001f600"):
            await outgoing.send(answer(text))
            line = await ends.line()
            assert json.loads(line)["result"]["text"] == text
            assert line.decode().rstrip("\n").isprintable()


@pytest.mark.parametrize("text", ["\ud83d", "a\udcffb"])
async def test_half_a_pair_that_a_tool_answers_gets_out_as_it_is(ends, text):
    async with opened(ends) as (_, outgoing):
        await outgoing.send(answer(text))
        assert json.loads(await ends.line()) == {"jsonrpc": "2.0", "id": 1, "result": {"text": text}}
        await outgoing.send(answer("next"))
        assert json.loads(await ends.line())["result"]["text"] == "next"


async def test_a_large_message_gets_out_whole(ends, nursery):
    text = "x" * 5_000_000
    async with opened(ends) as (_, outgoing):
        nursery.start_soon(outgoing.send, answer(text))
        assert json.loads(await ends.line())["result"]["text"] == text


# --- the end


async def test_the_end_of_the_input_is_told_before_it_ends_the_messages(ends):
    told = []
    async with opened(ends, lambda: told.append("left")) as (incoming, _):
        await ends.to.send_all(PING + PING.strip())  # a line that breaks off is none
        assert await messages(incoming, 1) == ["ping"]
        assert told == []
        await ends.to.aclose()
        async for each in incoming:
            pytest.fail(f"{each} came after the end")
        assert told == ["left"]


async def test_nobody_who_reads_is_the_end_too(ends):
    """Else a server stays for ever whose client died while another holds its standard input."""
    told = []
    await ends.out.aclose()
    async with opened(ends, lambda: told.append("left")) as (_, outgoing):
        await outgoing.send(answer())
        await trio.sleep_forever()
    assert told == ["left"]


@pytest.mark.parametrize("side", [0, 1])
async def test_a_terminal_that_is_hung_up_is_an_end(ends, side):
    """Of its two sides one then reads nothing, and the other one an error."""
    sides = pty.openpty()
    os.dup2(sides[side], ends.stdin)
    os.close(sides[side])
    async with opened(ends) as (incoming, _):
        os.close(sides[1 - side])
        assert [each async for each in incoming] == []


@pytest.mark.parametrize("content", [b"", PING])
async def test_a_file_is_read_to_its_end(ends, tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open() as file:
        os.dup2(file.fileno(), ends.stdin)
    async with opened(ends) as (incoming, _):
        assert len([each async for each in incoming]) == len(content.splitlines())


async def test_the_end_of_the_block_waits_for_no_client(ends):
    began = trio.current_time()
    async with opened(ends) as (_, outgoing), trio.open_nursery() as nursery:
        nursery.start_soon(outgoing.send, answer("x" * 1_000_000))
        await wait_all_tasks_blocked()  # the pipe is full
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began < 1


async def test_descriptors_are_closed_and_block_again_as_before(ends):
    before = descriptors()
    same = os.dup(ends.stdin)  # what a shell would hold of a terminal
    async with opened(ends):
        assert not os.get_blocking(same)
    assert os.get_blocking(same)
    os.close(same)
    assert descriptors() == before


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- with a server


async def test_a_server_outlives_garbage_before_and_after_the_beginning(ends, nursery):
    async with served(ends):
        await ends.to.send_all(b"garbage\n" * 20)
        assert "result" in await ends.ask(1, "initialize", INITIALIZE)
        await ends.to.send_all(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        for number, garbage in enumerate([b"x\n", b"x" * (LONGEST_LINE + 1) + b"\n", b"\xff\n"]):
            await ends.to.send_all(garbage)
            called = await ends.ask(number + 2, "tools/call", {"name": "double", "arguments": {"number": 4}})
            assert called["result"]["structuredContent"] == {"result": 8}


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_are_served(ends, era):
    async with served(ends):
        meta = {"_meta": MODERN} if era != "legacy" else {}
        if era == "legacy":
            await ends.ask(1, "initialize", INITIALIZE)
        called = await ends.ask(2, "tools/call", {"name": "double", "arguments": {"number": 4}} | meta)
        assert called["result"]["structuredContent"] == {"result": 8}
