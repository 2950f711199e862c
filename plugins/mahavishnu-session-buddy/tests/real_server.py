"""The real Session-Buddy for the tests: started, killed, robbed of its database, and asked what it has.

``MAHAVISHNU_SESSION_BUDDY_PYTHON`` names the Python that has it installed; ``nox -s session_buddy`` sets it.
"""

from __future__ import annotations

import gc
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

START_PATIENCE = 60.0
"""Seconds until it listens: 3 to 9 on an idle machine (seen in 0.23.0)."""
PATIENCE = 60.0
"""Seconds for what takes a few on a busy machine."""
UNCLOSED = "ignore:Async generator 'http(x|core)2:ResourceWarning"
"""The SDK's HTTP client leaves iterators to the garbage collector (seen in mcp 2.3.0)."""
_PAUSE = 0.02
_MOST = 200
"""Letters that a test looks at: an answer may have 1 MiB, a letter has up to 10 kB."""
_SERVE_HTTP = (
    "from session_buddy.server_optimized import run_server; run_server(host='127.0.0.1', port={port})"
)
_SERVE_STDIO = "from session_buddy.server_optimized import mcp; mcp.run(transport='stdio', show_banner=False)"


def require_server() -> str:
    """Its Python. Skips the test without one, or fails it where MAHAVISHNU_REQUIRE_SESSION_BUDDY is set."""
    python = os.environ.get("MAHAVISHNU_SESSION_BUDDY_PYTHON", "")
    if not (python and Path(python).is_file()):
        text = f"no Session-Buddy at {python!r}: 'nox -s session_buddy' installs it and runs these tests"
        (pytest.fail if os.environ.get("MAHAVISHNU_REQUIRE_SESSION_BUDDY") else pytest.skip)(text)
    return python


def wait_until(is_so: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return when ``is_so`` says yes; ``what`` says what a test waited for in vain."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"{what}: not so after {seconds:g} s"
        time.sleep(_PAUSE)


@contextmanager
def real_buddy(root: Path) -> Iterator[RealBuddy]:
    """One that does not run yet, in a directory of its own; nothing of it runs after the block."""
    buddy = RealBuddy(root, require_server())
    try:
        yield buddy
    finally:
        buddy.close()


@attrs.define(eq=False)
class RealBuddy:
    """A server with a home, a working directory and a port, which it keeps however often it is started."""

    root: Path
    python: str
    embedder: str = "http://127.0.0.1:9"
    """Whom it asks for the vector of a text before it stores it; nobody, as long as nothing else is said."""
    _claim: socket.socket = attrs.field(factory=socket.socket)
    _process: subprocess.Popen[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        for path in (self.root, self.home, self.root / "cwd", self.root / "tmp"):
            path.mkdir()
        # Whenever it opens its database it would install extensions there: seconds, and a network.
        (self.home / ".duckdb").touch()
        # Bound and not listening: nobody else is given the port, and who connects is refused.
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._claim.bind(("127.0.0.1", 0))

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def port(self) -> int:
        return int(self._claim.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def command_line(self) -> str:
        """What starts one on its standard streams, with the same home, whoever gives it."""
        return shlex.join(self._command(_SERVE_STDIO))

    @property
    def over_http(self) -> Asking:
        return Asking(self.url)

    @property
    def over_stdio(self) -> Asking:
        return Asking(self.command_line, self.root)

    def start(self) -> None:
        """Start it, for the first time or again, and return when it listens."""
        assert self._process is None, "it is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(_SERVE_HTTP.format(port=self.port)),
                cwd=self.root / "cwd",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens_or_ended, "it listens", START_PATIENCE)
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End it as a service manager would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def lose_database(self) -> None:
        """Have it begin with nothing when it is started again."""
        assert self._process is None, "it is running"
        shutil.rmtree(self.home / ".claude/data")

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        self._claim.close()

    def _command(self, code: str) -> list[str]:
        environ = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.root / "tmp"),
            "MAHAVISHNU__LLAMA_SERVER_URL": f"{self.embedder}/v1",
            "MAHAVISHNU__OLLAMA_URL": self.embedder,
        }
        words = [f"{name}={value}" for name, value in environ.items()]
        return ["/usr/bin/env", "-i", *words, self.python, "-P", "-c", code]

    def _listens_or_ended(self) -> bool:
        assert self._process is not None
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return self._process.poll() is not None

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it is not running"
        os.kill(self._process.pid, number)
        try:
            self._process.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):  # what it has started, and itself where it does not obey
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@attrs.frozen
class Held:
    """A letter as the server has it."""

    content: str
    tags: tuple[str, ...]

    def fact(self, name: str) -> str:
        """What a tag says: ``task``, ``status``, ``sha256`` …; AssertionError if not exactly one does."""
        (value,) = [tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{name}:")]
        return value


@attrs.frozen
class Asking:
    """A client that uses the server's own tools: what they say is what any other client would find."""

    target: str
    """A URL, or a command line."""
    directory: Path | None = None
    """Where the command line runs, and leaves its log; None for a URL."""

    def held(self) -> list[Held]:
        """All letters, whichever they are."""
        answer = self.ask(
            "fingerprint_search",
            query="mahavishnu",
            content_type="reflection",
            threshold=1.01,  # nothing is as similar: it looks for the word
            limit=_MOST,
        )
        told = answer.structured_content
        assert told, answer
        assert told["success"], answer
        return [Held(each["content"], tuple(each["tags"])) for each in told["results"]]

    def tasks(self) -> list[str]:
        """Whose results it has, sorted; twice what is there twice."""
        return sorted(letter.fact("task") for letter in self.held() if any(":" in tag for tag in letter.tags))

    def count(self) -> int:
        """How much it has, as it counts itself."""
        told = text_of(self.ask("reflection_stats"))
        found = re.search(r"Total reflections: (\d+)", told)
        assert found, told
        return int(found[1])

    def shows(self, word: str) -> bool:
        """Whether its quick search, which people use, finds a word."""
        return word in text_of(self.ask("quick_search", query=word))

    def ask(self, tool: str, **arguments: object) -> CallToolResult:
        async def call() -> CallToolResult:
            async with self.session() as client:
                return await client.call_tool(tool, arguments, read_timeout_seconds=PATIENCE)

        return trio.run(call)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Client]:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        with trio.fail_after(START_PATIENCE + PATIENCE):
            if self.directory is None:
                async with Client(self.target) as client:
                    yield client
                gc.collect()  # now, and not in the midst of another test
                return
            program, *arguments = shlex.split(self.target)
            cwd = self.directory / "cwd"
            parameters = StdioServerParameters(command=program, args=arguments, cwd=cwd)
            with (self.directory / "log").open("a") as log:
                async with Client(stdio_client(parameters, log)) as client:
                    yield client


def text_of(answer: CallToolResult) -> str:
    assert not answer.is_error, answer
    return "\n".join(str(getattr(part, "text", "")) for part in answer.content)
