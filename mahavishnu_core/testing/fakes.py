"""A place, storages and an app without any process: for tests under Trio's mock clock."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from mahavishnu_core.app import App
from mahavishnu_core.host import host_of
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import JSON, Cause, Exit, Task, Worker, WorkerResult, WorkerType, utc_now
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.environs import home_in

if TYPE_CHECKING:
    from pathlib import Path

    from mahavishnu_core.hookspecs import Run, RunState


@attrs.frozen
class Say:
    """Put something out, after a silence in seconds: bytes as they are, an object as a line of JSON."""

    data: bytes | Mapping[str, JSON]
    after: float = 0.0

    @property
    def output(self) -> bytes:
        return self.data if isinstance(self.data, bytes) else json.dumps(self.data).encode() + b"\n"


@attrs.frozen
class Leave:
    """Exit after a silence."""

    exit_code: int = 0
    after: float = 0.0


@attrs.frozen
class Hang:
    """Stay until ended."""


Script: TypeAlias = Sequence[Say | Leave | Hang]


@attrs.define(eq=False)
class FakeRun:
    """A command that follows a script by Trio's clock."""

    task: Task
    slot: trio.Semaphore
    began: float = 0.0
    ended: trio.Event = attrs.field(factory=trio.Event)
    running: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    exit: Exit | None = None
    asked: list[tuple[Cause, float]] = attrs.field(factory=list)
    """Each end that was asked for, with its grace."""

    async def state(self) -> RunState:
        await trio.lowlevel.checkpoint()
        return "ended" if self.exit else "running" if self.running.is_set() else "queued"

    async def started(self) -> None:
        await self.running.wait()

    async def wait(self) -> Exit:
        await self.ended.wait()
        assert self.exit is not None  # noqa: S101  # set before the event
        return self.exit

    async def end(self, cause: Cause, grace_seconds: float) -> None:
        self.asked.append((cause, grace_seconds))
        self.scope.cancel()
        await trio.lowlevel.checkpoint()

    async def play(self, script: Script) -> None:
        async with self.slot:
            self.began = trio.current_time()
            (self.task.directory / "launch.json").write_text(json.dumps({"started": utc_now()}))
            self.running.set()
            code: int | None = None
            with self.scope:
                code = await self._follow(script)
        self.exit = Exit(
            exit_code=code,
            signal="SIGTERM" if code is None else None,
            ended=utc_now(),
            duration_seconds=trio.current_time() - self.began,
            cause=self.asked[0][0] if code is None else None,
        )
        self.ended.set()

    async def _follow(self, script: Script) -> int:
        with (self.task.directory / "stdout.jsonl").open("ab", buffering=0) as file:
            for step in script:
                match step:
                    case Say():
                        await trio.sleep(step.after)
                        file.write(step.output)
                    case Leave():
                        await trio.sleep(step.after)
                        return step.exit_code
                    case Hang():
                        await trio.sleep_forever()
        raise AssertionError("a script ends with Leave or Hang")


@attrs.define(eq=False)
class FakePlace:
    """The place ``fake``: whatever is to be run, it does what ``script`` says for the task."""

    nursery: trio.Nursery
    script: Callable[[Task], Script]
    types: tuple[WorkerType, ...] = ()
    """What it offers; their place is to be ``fake``."""
    fail_spawn_at: int | None = None
    """The number of the worker, from 0, for which there is no room."""
    runs: list[FakeRun] = attrs.field(factory=list)
    spawned: list[str] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)
    width: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(1000))

    @hookimpl
    def worker_types(self) -> tuple[WorkerType, ...]:
        return self.types

    @hookimpl
    def spawn(self, worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
        return self._spawn(worker) if worker.type.place == "fake" else None

    async def _spawn(self, worker: Worker) -> Mapping[str, JSON]:
        await trio.lowlevel.checkpoint()
        if len(self.spawned) == self.fail_spawn_at:
            raise RuntimeError("no room")
        self.spawned.append(worker.worker_id)
        return {"room": len(self.spawned)}

    @hookimpl
    def launch(self, worker: Worker, task: Task) -> Awaitable[Run] | None:
        return self._launch(task) if worker.type.place == "fake" else None

    async def _launch(self, task: Task) -> FakeRun:
        await trio.lowlevel.checkpoint()
        run = FakeRun(task, self.width)
        self.runs.append(run)
        self.nursery.start_soon(run.play, self.script(task))
        return run

    @hookimpl
    def close(self, worker: Worker) -> Awaitable[None] | None:
        return self._close(worker) if worker.type.place == "fake" else None

    async def _close(self, worker: Worker) -> None:
        await trio.lowlevel.checkpoint()
        self.closed.append(worker.worker_id)


@attrs.define(eq=False)
class FakeStorage:
    """Keeps results in a list; fails as long as it is ``broken``."""

    broken: bool = False
    kept: list[tuple[str, WorkerResult]] = attrs.field(factory=list)
    """Task ids with their results."""

    @hookimpl
    def store_result(self, task: Task, result: WorkerResult) -> Awaitable[None]:
        return self._store(task, result)

    async def _store(self, task: Task, result: WorkerResult) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise OSError("no space left")
        self.kept.append((task.task_id, result))


def app_of(directory: Path, **plugins: object) -> App:
    """An app on a fresh state directory with just these plugins, and the shipped settings."""
    return App(host_of(plugins), StateDir(directory / "state"), environ=home_in(directory))
