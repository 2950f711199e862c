"""No window: the command that follows the log is our child, and its output is read."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_debug_monitor.windows.window import NewLines, Window, WindowGone, WindowRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_MOST_LINES = 10_000
_LONGEST = 1024 * 1024
"""Bytes of a line that are held; a longer one is told in pieces."""
_GRACE = 2.0


@asynccontextmanager
async def open_plain(command: Sequence[str], environ: Mapping[str, str]) -> AsyncIterator[Window]:
    """Run a command and read what it prints. Raises WindowRefused; errors of the block come in a group."""
    process = await _start(command, environ)
    try:
        async with trio.open_nursery() as nursery:
            window = PlainWindow(command)
            nursery.start_soon(window.read, _output_of(process))
            yield window
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


@attrs.define(eq=False)
class PlainWindow:
    """The lines that a command has printed; it waits with more while nobody takes them."""

    _command: Sequence[str]
    _lines: list[str] = attrs.field(factory=list)
    _rest: bytes = b""
    """The beginning of a line that is not whole yet."""
    _has_room: trio.Event = attrs.field(factory=trio.Event)
    _has_ended: bool = False

    @property
    def access(self) -> str:
        return f"in no window, follow it with '{shlex.join(self._command)}'"

    async def new_lines(self) -> NewLines:
        await trio.lowlevel.checkpoint()
        if not self._lines and self._has_ended:
            raise WindowGone("the command that follows the log has ended")
        news, self._lines = NewLines(self._lines), []
        self._has_room.set()
        return news

    async def read(self, output: trio.abc.ReceiveStream) -> None:
        """Take what is printed, to the end."""
        async for chunk in output:
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > _LONGEST:
                whole.append(self._rest)
                self._rest = b""
            self._keep(whole)
            while len(self._lines) >= _MOST_LINES:
                self._has_room = trio.Event()
                await self._has_room.wait()
        if self._rest:
            self._keep([self._rest])
        self._has_ended = True

    def _keep(self, whole: Sequence[bytes]) -> None:
        self._lines.extend(line.decode("utf-8", "replace").rstrip() for line in whole)


async def _start(command: Sequence[str], environ: Mapping[str, str]) -> trio.Process:
    try:
        return await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # a window shows both
            env=dict(environ),
            start_new_session=True,
        )
    except OSError as error:
        raise WindowRefused(f"{command[0]!r} cannot be run: {error.strerror}") from error


def _output_of(process: trio.Process) -> trio.abc.ReceiveStream:
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    return process.stdout


async def _end(process: trio.Process) -> None:
    """End the command's group. It is reaped last: until then no other process can have its number."""
    output = _output_of(process)
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, where all have ended
        os.killpg(process.pid, signal.SIGTERM)
    with trio.move_on_after(_GRACE):  # until nobody holds the output any more
        async for _ in output:
            pass
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await output.aclose()
    await process.wait()
