"""A Session-Buddy for the tests: it answers over HTTP as the real server 0.23.0 does, and fails on demand.

``buddy.memory`` is what it remembers, ``buddy.faults`` what is wrong with it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import trio

from .faults import Faults
from .http_server import BuddyServer
from .memory import Memory

PATIENCE = 20.0
"""Seconds for what takes a fraction of one."""


class HttpBuddy:
    """A server on a port of its own, which it keeps from birth to ``close``, also while nobody listens."""

    def __init__(self, memory: Memory | None = None, *, is_streaming: bool = True) -> None:
        self.memory = memory or Memory()
        self.faults = Faults()
        self.is_streaming = is_streaming
        """Whether it answers by an event stream, as the real one does, or by plain JSON."""
        self.token: str | None = None
        """The bearer token without which it answers 401; the real one asks for none."""
        self.tokens: list[str | None] = []
        """What came as ``Authorization``, one a request."""
        self.methods: list[str] = []
        """Those of the protocol that were asked for, in order."""
        self.changed = threading.Condition()
        """Held by a request while it works, and told of each that comes."""
        # Bound and not listening: no other program is given the port, and who connects is refused.
        self._claim = socket.socket()
        self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._claim.bind(("127.0.0.1", 0))
        self._server: BuddyServer | None = None
        self._thread = threading.Thread()

    @property
    def port(self) -> int:
        return int(self._claim.getsockname()[1])

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        """Listen, for the first time or again; no session of before is known."""
        assert self._server is None, "it is running"
        self._server = BuddyServer(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """End it as SIGTERM does: the answers under way are given, and the log is lost all the same."""
        self._leave(socket.SHUT_RD)
        self.memory.restart()

    def kill(self) -> None:
        """End it as SIGKILL does: connections break, and the log is lost."""
        self._leave(socket.SHUT_RDWR)
        self.memory.restart()

    def refuse(self) -> None:
        """Listen no more until ``start``, and lose nothing: what is wrong is the way, not the server."""
        self._leave(socket.SHUT_RDWR)

    def release(self) -> None:
        """Let go on what is silent now."""
        assert self._server is not None, "it is not running"
        self._server.gate.release()

    def close(self) -> None:
        """End whatever runs; no thread and no socket is left of it."""
        if self._server is not None:
            self._leave(socket.SHUT_RDWR)
        self._claim.close()

    async def called(self, tool: str, times: int = 1) -> None:
        """Return when a tool was called so often, from the beginning on; its work may not be done yet."""
        await self._until(
            lambda: [name for name, _ in self.memory.calls].count(tool) >= times,
            f"{tool!r} was not called {times} times",
        )

    async def asked(self, times: int = 1) -> None:
        """Return when so many requests have come, from the beginning on and whatever they wanted."""
        await self._until(lambda: len(self.tokens) >= times, f"it was not asked {times} times")

    async def _until(self, is_so: Callable[[], bool], complaint: str) -> None:
        def wait() -> None:
            with self.changed:
                assert self.changed.wait_for(is_so, PATIENCE), complaint

        await trio.to_thread.run_sync(wait)

    def _leave(self, how: int) -> None:
        assert self._server is not None, "it is not running"
        self._server.stop(how)
        self._thread.join()
        self._server = None
