"""A state directory with results in it, and a storage that mirrors them into the test's Session-Buddy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import App, load_app
from mahavishnu_core.models import Backlog, Synced, Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_session_buddy.names import title_of, token_of
from mahavishnu_session_buddy.outbox import Outbox

from .buddy import HttpBuddy

LIMIT = 30
"""Seconds for what a test does: far more than any needs."""

UNCLOSED = "ignore:Async generator 'http(x|core)2:ResourceWarning"
"""What mcp 2.3's client leaves behind over HTTP under Trio."""


@attrs.define
class Mirror:
    """What a test looks at: an app whose settings name the buddy, its outbox, and the buddy."""

    app: App
    buddy: HttpBuddy
    monkeypatch: object
    _worker: Worker | None = None

    @property
    def outbox(self) -> Outbox:
        return Outbox.of(self.app.state.root)

    def set(self, **settings: str) -> None:
        """Settings of the storage, from now on: ``set(tool="remember")``."""
        for name, value in settings.items():
            self.monkeypatch.setenv(f"MAHAVISHNU_SESSION_BUDDY_{name.upper()}", value)
        self.app = load_app(environ=self.app.environ)

    def add_result(self, output: str = "hello", prompt: str = "Say hello", **changes: object) -> str:
        """A task that has ended, and waits to be sent; its id."""
        state = self.app.state
        worker_id = state.new_worker_id()
        kind = WorkerType("shell", "shell")
        worker = Worker(worker_id, kind, Path("/home/me/api"), "2026-11-29T02:00:00+00:00")
        state.add_worker(worker)
        task = state.add_task(worker, prompt, 300)
        self.settle(task, output, **changes)
        self.outbox.prepare()
        self.outbox.put(task.task_id)
        return task.task_id

    def settle(self, task: Task, output: str, **changes: object) -> None:
        fields = {"status": WorkerStatus.COMPLETED, "exit_code": 0, "output": output} | changes
        self.app.state.settle(task, WorkerResult(task.worker_id, **fields))

    def add_results(self, count: int) -> list[str]:
        return [self.add_result(f"output {number}") for number in range(count)]

    @asynccontextmanager
    async def manager(self) -> AsyncIterator[WorkerManager]:
        with trio.fail_after(LIMIT):
            async with WorkerManager(self.app) as manager:
                yield manager

    async def sync(self, *, verify: bool = False) -> Synced:
        """Have what waits sent, as ``results sync`` does."""
        async with self.manager() as manager:
            (synced,) = await manager.sync_results(verify=verify)
            return synced

    async def backlog(self) -> Backlog:
        async with self.manager() as manager:
            (backlog,) = await manager.backlogs()
            return backlog

    def copies(self, task_id: str) -> int:
        """How often the buddy has a letter."""
        return sum(content.startswith(title_of(token_of(task_id))) for content in self.buddy.memory.contents)

    def calls(self, tool: str = "store_reflection") -> int:
        return [name for name, _ in self.buddy.memory.calls].count(tool)
