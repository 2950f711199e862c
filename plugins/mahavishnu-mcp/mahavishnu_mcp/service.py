"""What the tools work on: the manager, the follower, and what a client may do with them."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import MahavishnuError, PluginError, UsageError
from mahavishnu_mcp.answers import ended_task, open_task, worker_line
from mahavishnu_mcp.events import EventLog
from mahavishnu_mcp.following import Follower
from mahavishnu_mcp.sdk import is_cancelled_by_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from mcp.server.mcpserver import Context

    from mahavishnu_core.app import App
    from mahavishnu_core.state import StateDir
    from mahavishnu_mcp.shapes import TaskReport, WorkerLine

MOST_WAITING = 1000
"""Tasks that have not ended: no client may add to more than that."""
_CANCEL_PATIENCE = 25.0
_SUBMIT_PATIENCE = 60.0
_LAST_MOMENT = 1.0
"""Seconds in which the place of a task hears that it is to begin or to end: it sees to the rest itself."""
_log = logging.getLogger(__name__)


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
        try:
            wanted = (first / repo).resolve()
        except (OSError, RuntimeError):  # links in a circle
            raise UsageError(f"{repo!r} leads nowhere") from None
        if not any(wanted.is_relative_to(root) for root in self.directories):
            roots = ", ".join(map(repr, map(str, self.directories)))
            raise UsageError(
                f"{repo!r} is outside of what this server may use ({roots}): start it with --root for more"
            )
        if not _is_directory(wanted):
            raise UsageError(f"{repo!r} is not a directory")
        return wanted


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its name is too long, or it is none of our business
        return False


@attrs.define(eq=False)
class Service:
    """One running server, whatever it is reached by."""

    manager: WorkerManager
    follower: Follower
    roots: Roots
    is_ending: bool = False
    """Whether the server or its only client leaves: then calls end, and tasks go on."""
    _holding: set[trio.CancelScope] = attrs.field(init=False, factory=set)

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
        """The workers that are named, each once, or all open ones but standing ones. Raises UnknownWorker."""
        if worker_ids is None:
            return self.state.passing_ids()
        return [self.state.worker(worker_id).worker_id for worker_id in dict.fromkeys(worker_ids)]

    def lines(self, worker_ids: list[str] | None = None) -> list[WorkerLine]:
        """How workers stand, all open ones where none is named. Raises UnknownWorker."""
        reports = self.manager.monitor_workers(worker_ids)
        return [worker_line(report, self.manager.app.secrets) for report in reports]

    def task_report(self, task_id: str, room: int) -> TaskReport:
        """A task as it stands, its texts cut to ``room`` characters. Raises UnknownTask."""
        task = self.state.task(task_id)
        line = self.lines([task.worker_id])[0]
        result = self.state.result(task)  # after the line, which is about this task where there is none
        return open_task(task, line) if result is None else ended_task(result, room)

    async def submit(
        self, begun: list[str], worker_id: str, prompt: str, seconds: int | None, key: str | None
    ) -> str:
        """Give a task and add its id to ``begun``; the id. It is given whole also if the call ends meanwhile.

        Raises UsageError, also for a key that was used for another prompt, and PluginError.
        """
        with self._held(_SUBMIT_PATIENCE) as held:
            task_id = await self.manager.submit_task(
                worker_id, prompt, timeout_seconds=seconds, idempotency_key=key
            )
            if self.state.task(task_id).prompt != prompt:
                raise UsageError(
                    f"this idempotency key was used for another prompt, in task {task_id!r}: take another"
                )
            begun.append(task_id)
        await trio.lowlevel.checkpoint()
        if held.cancelled_caught:
            raise PluginError(f"worker {worker_id!r} does not begin, and its task was taken back: try again")
        return task_id

    def leave(self) -> None:
        """Let calls end and tasks go on. Those whose end was asked for are ended, and not waited for."""
        self.is_ending = True
        for scope in self._holding:
            scope.deadline = min(scope.deadline, trio.current_time() + _LAST_MOMENT)

    @contextmanager
    def _held(self, seconds: float) -> Iterator[trio.CancelScope]:
        """What a call that ends does not leave half done; within this time, or a moment when we leave."""
        limit = _LAST_MOMENT if self.is_ending else seconds
        with trio.move_on_after(limit, shield=True) as scope:
            self._holding.add(scope)
            try:
                yield scope
            finally:
                self._holding.discard(scope)

    @asynccontextmanager
    async def ending_with_the_call(self, ctx: Context, task_ids: list[str]) -> AsyncIterator[None]:
        """End these tasks when the client cancels the call; when it or the server leaves, they go on."""
        try:
            yield
        finally:
            is_cancelled = trio.current_effective_deadline() == -math.inf
            if is_cancelled and not self.is_ending and is_cancelled_by_client(ctx):
                with self._held(_CANCEL_PATIENCE):
                    async with trio.open_nursery() as nursery:
                        for task_id in task_ids:
                            nursery.start_soon(self._end, task_id)

    async def _end(self, task_id: str) -> None:
        try:
            await self.manager.cancel_task(task_id)
        except (MahavishnuError, OSError) as error:  # the others are ended all the same
            _log.warning("task %s cannot be ended: %s", task_id, error)


@asynccontextmanager
async def open_service(app: App, roots: Roots) -> AsyncIterator[Service]:
    """A service on the state directory, which takes up what earlier engines left. Raises StateDirError."""
    async with WorkerManager(app) as manager, trio.open_nursery() as nursery:
        log = EventLog(app)
        follower = Follower(manager, log, nursery)
        manager.observe(follower.tell)
        nursery.start_soon(manager.recover)
        follower.look()
        yield Service(manager, follower, roots)
        nursery.cancel_scope.cancel()
