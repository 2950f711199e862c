"""Asks programs for their version: within bounds of time and output, and with nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEADLINE = 5.0
_MOST_BYTES = 64 * 1024
_WIDTH = 60


@attrs.frozen
class Answer:
    """What a program says to ``--version``."""

    version: str = ""
    """Empty where that is nothing useful."""
    is_late: bool = False
    """Whether it had come to no end when the time was up."""


async def versions(programs: Iterable[str]) -> Mapping[str, Answer]:
    """What each program says to ``--version``, asked all at once."""
    found: dict[str, Answer] = {}

    async def ask(program: str) -> None:
        found[program] = await _ask(program)

    async with trio.open_nursery() as nursery:
        for program in set(programs):
            nursery.start_soon(ask, program)
    return found


async def _ask(program: str) -> Answer:
    try:
        process = await trio.lowlevel.open_process(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return Answer()
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    output = b""
    try:
        with trio.move_on_after(DEADLINE):
            output = await _read(process.stdout)
            await process.wait()
    finally:
        status = process.returncode
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):  # what was killed is reaped at once
            await process.wait()
            await process.stdout.aclose()
    lines = output.decode("utf-8", "replace").strip().splitlines()
    version = one_line(lines[0], _WIDTH) if lines and status == 0 else ""
    return Answer(version, is_late=status is None)


async def _read(stdout: trio.abc.ReceiveStream) -> bytes:
    """The output, or more than anyone would call a version: then the deadline ends it."""
    output = b""
    async for chunk in stdout:
        output += chunk
        if len(output) > _MOST_BYTES:
            return b""
    return output
