"""What the tools work on: the manager, the follower, and what a client may do with them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import UsageError
from mahavishnu_mcp.answers import ended_task, open_task, worker_line
from mahavishnu_mcp.events import EventLog
from mahavishnu_mcp.following import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from mahavishnu_core.app import App
    from mahavishnu_core.state import StateDir
    from mahavishnu_mcp.shapes import TaskReport, WorkerLine

MOST_WAITING = 1000
"""Tasks that have not ended: no client may add to more than that."""
_CANCEL_PATIENCE = 25.0


@attrs.frozen
class Roots:
    """The directories that workers may be put into, with those below them."""

    directories: tuple[Path, ...]

    @classmethod
    def of(cls, directories: Iterable[Path]) -> Roots:
        """Raises UsageError for what is no directory."""
        found = []
        for directory in directories:
            if not directory.is_dir():
                raise UsageError(f"{str(directory)!r} is not a directory: name an existing one with --root")
            found.append(directory.resolve())
        return cls(tuple(found))

    def workspace(self, repo: str | None) -> Path:
        """The directory that a client asks for, relative to the first root. Raises UsageError outside."""
        first = self.directories[0]
        if repo is None:
            return first
        if "\0" in repo:
            raise UsageError("the name of a directory has no NUL in it")
        wanted = (first / repo).resolve()
        if not any(wanted.is_relative_to(root) for root in self.directories):
            roots = ", ".join(map(repr, map(str, self.directories)))
            raise UsageError(
                f"{repo!r} is outside of what this server may use ({roots}): start it with --root for more"
            )
        if not wanted.is_dir():
            raise UsageError(f"{repo!r} is not a directory")
        return wanted


@attrs.define(eq=False)
class Service:
    """One running server, whatever it is reached by."""

    manager: WorkerManager
    follower: Follower
    roots: Roots
    is_ending: bool = False
    """Whether the server or its only client leaves: then calls end, and tasks go on."""

    @property
    def state(self) -> StateDir:
        return self.manager.app.state

    def require_room(self, tasks: int = 1) -> None:
        """Raises UsageError where workers are off, or too many tasks wait already."""
        self.manager.app.require_workers()
        waiting = sum(self.state.result(task) is None for task in self.state.open_tasks())
        if waiting + tasks > MOST_WAITING:
            raise UsageError(
                f"{waiting} tasks have not ended yet, and {MOST_WAITING} is the most: "
                "wait for some with worker_monitor, or close workers"
            )

    def known(self, worker_ids: list[str] | None) -> list[str]:
        """The workers that are named, each once, or all open ones. Raises UnknownWorker."""
        if worker_ids is None:
            return [worker.worker_id for worker in self.state.workers()]
        return [self.state.worker(worker_id).worker_id for worker_id in dict.fromkeys(worker_ids)]

    def lines(self, worker_ids: list[str] | None = None) -> list[WorkerLine]:
        """How workers stand, all open ones where none is named. Raises UnknownWorker."""
        secrets = self.manager.engine.secrets
        return [worker_line(report, secrets) for report in self.manager.monitor_workers(worker_ids)]

    def task_report(self, task_id: str, room: int) -> TaskReport:
        """A task as it stands, its texts cut to ``room`` characters. Raises UnknownTask."""
        task = self.state.task(task_id)
        result = self.state.result(task)
        if result is not None:
            return ended_task(result, room)
        return open_task(task, self.lines([task.worker_id])[0])

    @asynccontextmanager
    async def ending_with_the_call(self, task_ids: list[str]) -> AsyncIterator[None]:
        """End these tasks when the client cancels the call; when the server leaves, they go on."""
        is_done = False
        try:
            yield
            is_done = True
        finally:
            if not is_done and not self.is_ending:
                with trio.move_on_after(_CANCEL_PATIENCE, shield=True):
                    async with trio.open_nursery() as nursery:
                        for task_id in task_ids:
                            nursery.start_soon(self.manager.cancel_task, task_id)


@asynccontextmanager
async def open_service(app: App, roots: Roots) -> AsyncIterator[Service]:
    """A service on the state directory, which takes up what earlier engines left. Raises StateDirError."""
    async with WorkerManager(app) as manager, trio.open_nursery() as nursery:
        log = EventLog(app, manager.engine.secrets)
        follower = Follower(manager, log, nursery)
        manager.observe(follower.tell)
        nursery.start_soon(manager.recover)
        follower.look()
        yield Service(manager, follower, roots)
        nursery.cancel_scope.cancel()
