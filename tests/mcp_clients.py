"""For tests that run the MCP clients and suites from npm: the programs, and our server as a process."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess

import attrs
import pytest
import trio

from mahavishnu_core.testing.environs import MIRRORS_NOTHING

PROGRAM = str(Path(sys.executable).with_name("mahavishnu"))
LIMIT = 240
"""Seconds for one program: far more than any needs, on a busy machine too."""
_URL = re.compile(rb"serving (\S+), token in (\S+)\n")


def require_in_path(program: str) -> str:
    """Skips a test without its program, or fails it where MAHAVISHNU_REQUIRE_CLIS is set."""
    if shutil.which(program) is None:
        text = f"not in PATH: {program}; 'nox -s mcp_clients' installs it and runs these tests"
        (pytest.fail if os.environ.get("MAHAVISHNU_REQUIRE_CLIS") else pytest.skip)(text)
    return program


async def run(
    command: Sequence[str], directory: Path, environ: Mapping[str, str] = os.environ
) -> CompletedProcess[str]:
    """What a command comes to."""
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            command, cwd=directory, env=environ, capture_stdout=True, capture_stderr=True, check=False
        )
    return CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@attrs.frozen
class Home:
    """A corner of the machine for one test: HOME, state directory, workspace."""

    root: Path

    def __attrs_post_init__(self) -> None:
        for path in (self.root / "home", self.work):
            path.mkdir()

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of programs that run here."""
        names = ("PATH", "LANG", "TMPDIR")
        return {
            **{name: os.environ[name] for name in names if name in os.environ},
            "HOME": str(self.root / "home"),
            "MAHAVISHNU_STATE_DIR": str(self.root / "state"),
            **MIRRORS_NOTHING,
        }

    @asynccontextmanager
    async def serve(self, *options: str) -> AsyncIterator[tuple[str, str]]:
        """``mahavishnu mcp serve`` over HTTP within the block: its URL and its token."""
        command = [PROGRAM, "mcp", "serve", "--transport", "http", "--port", "0", *options]
        start = partial(trio.lowlevel.open_process, command, cwd=self.work, env=self.environ)
        with trio.fail_after(LIMIT):
            process = await start(stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
            async with process.stderr, trio.open_nursery() as nursery:
                try:
                    url, token_file = await _announced(process.stderr)
                    nursery.start_soon(_drain, process.stderr)
                    yield url, (await trio.Path(token_file).read_text()).strip()
                finally:
                    process.terminate()
                    with trio.CancelScope(shield=True):
                        await process.wait()


async def _announced(errors: trio.abc.ReceiveStream) -> tuple[str, str]:
    said = b""
    while (told := _URL.search(said)) is None:
        chunk = await errors.receive_some()
        assert chunk, said
        said += chunk
    return told[1].decode(), told[2].decode()


async def _drain(errors: trio.abc.ReceiveStream) -> None:
    async for _ in errors:
        pass
