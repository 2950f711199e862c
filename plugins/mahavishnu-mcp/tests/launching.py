"""Servers as processes of their own, clients that keep every line of theirs, and commands beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import attrs
import mcp_types
import trio
from mcp import Client
from mcp.shared.message import SessionMessage

from mahavishnu_core.testing.environs import MIRRORS_NOTHING

PROGRAM = Path(sys.executable).with_name("mahavishnu")
PATIENCE = 60.0
"""Seconds for what takes a few on a busy machine."""


@attrs.frozen
class House:
    """A home, a working directory and a state directory, for servers and commands that a test starts."""

    path: Path
    environ: Mapping[str, str]

    @classmethod
    def under(cls, path: Path) -> House:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAHAVISHNU_", "XDG_", "_MAHAVISHNU"))
        }
        own = {"HOME": str(path), "MAHAVISHNU_STATE_DIR": str(path / "state"), **MIRRORS_NOTHING}
        (path / "work").mkdir()
        return cls(path, environ | own)

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def state(self) -> Path:
        return self.path / "state"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command line that comes to its end by itself."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env={**self.environ, **variables},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    async def command(self, *arguments: str):
        """What a command prints as JSON."""
        done = await trio.to_thread.run_sync(partial(self.run, *arguments, "--json"))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def token(self) -> str:
        return (self.state / "mcp-token").read_text().strip()

    def texts(self) -> str:
        """All that lies in the state directory but the token's own file."""
        files = [path for path in self.state.rglob("*") if path.is_file() and path.name != "mcp-token"]
        return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


@attrs.define(eq=False)
class Server:
    """A server as a process, and what it has said."""

    process: trio.Process
    lines: list[bytes] = attrs.field(factory=list)
    """On standard output; the last one is whole only where it ended in a newline."""
    err: bytearray = attrs.field(factory=bytearray)
    is_over: bool = False
    _news: trio.Event = attrs.field(factory=trio.Event)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _listening: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ended(self) -> int:
        """The exit status, when it has come to its end and all that it said is here."""
        with trio.fail_after(PATIENCE):
            while not self.is_over:
                await self._news.wait()
            return await self.process.wait()

    async def said(self, words: str) -> str:
        """Standard error, when these words are in it."""
        with trio.fail_after(PATIENCE):
            while words.encode() not in self.err:
                await self._news.wait()
        return self.err.decode()

    async def send(self, message: bytes | dict[str, object]) -> None:
        """A line on its standard input."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        async with self._sending:
            await self.process.stdin.send_all(data + b"\n")

    async def line(self, number: int) -> bytes | None:
        """The line of that number on standard output; None when it ends before."""
        while len(self.lines) <= number + 1 and not self.is_over:
            await self._news.wait()
        return self.lines[number] if len(self.lines) > number + 1 else None

    def stop_listening(self) -> None:
        """Read nothing more of standard output."""
        self._listening.cancel()

    async def listen(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lines)
            async for chunk in self.process.stderr:
                self.err += chunk
                self._tell()
        self.is_over = True
        self._tell()

    async def _keep_lines(self) -> None:
        last = bytearray()
        self.lines.append(last)
        with self._listening:
            async for chunk in self.process.stdout:
                first, *more = chunk.split(b"\n")
                last += first
                for line in more:
                    last = bytearray(line)
                    self.lines.append(last)
                self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    @asynccontextmanager
    async def transport(self) -> AsyncIterator[tuple]:
        """For the SDK's client."""
        to_client, incoming = anyio.create_memory_object_stream(0)
        outgoing, from_client = anyio.create_memory_object_stream(0)

        async def read() -> None:
            number = 0
            async with to_client:
                while (line := await self.line(number)) is not None:
                    number += 1
                    message = mcp_types.jsonrpc_message_adapter.validate_json(bytes(line), by_name=False)
                    await to_client.send(SessionMessage(message))

        async def write() -> None:
            async with from_client:
                with suppress(trio.BrokenResourceError):
                    async for each in from_client:
                        text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                        await self.send(text.encode())

        async with incoming, outgoing, trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            yield incoming, outgoing
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def launched(
    house: House, *arguments: str, through: Sequence[str] = (), **variables: str
) -> AsyncIterator[Server]:
    """``mahavishnu mcp serve`` within the block; it is killed at its end where it has not ended."""
    with trio.fail_after(2 * PATIENCE):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                [*through, PROGRAM, "mcp", "serve", *arguments],
                env={**house.environ, **variables},
                cwd=house.work,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            server = Server(process)
            nursery.start_soon(server.listen)
            try:
                yield server
            finally:
                with trio.CancelScope(shield=True):
                    process.kill()
                    await process.wait()
                    await process.stdin.aclose()
            await server.ended()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def stdio_client(
    house: House, mode: str, *arguments: str, **variables: str
) -> AsyncIterator[tuple[Server, Client]]:
    """A server over standard streams, and the SDK's client of it."""
    async with (
        launched(house, *arguments, **variables) as server,
        Client(server.transport(), mode=mode) as client,
    ):
        yield server, client


@asynccontextmanager
async def http_server(
    house: House, *arguments: str, **variables: str
) -> AsyncIterator[tuple[Server, str, str]]:
    """A server over HTTP on a free port, its URL, and its token."""
    async with launched(house, "--transport", "http", "--port", "0", *arguments, **variables) as server:
        url = (await server.said("token in")).split("serving ")[1].split(",")[0]
        yield server, url, variables.get("MAHAVISHNU_MCP_TOKEN") or house.token()
