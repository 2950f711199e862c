"""A place, an agent and storages without any process, for tests of the core under Trio's mock clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from mahavishnu_core.app import App
from mahavishnu_core.host import host_of
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import Command, Exit, Task, Worker, WorkerResult, WorkerType, utc_now
from mahavishnu_core.state import StateDir
from mahavishnu_core.stream import GenericParser


@attrs.frozen
class Say:
    """Print an object after a silence."""

    data: dict[str, object]
    after: float = 0.0


@attrs.frozen
class Leave:
    """Exit after a silence."""

    exit_code: int = 0
    after: float = 0.0


@attrs.frozen
class Hang:
    """Stay until ended."""


Script = Sequence[Say | Leave | Hang]
ANSWER: Script = (Say({"type": "result", "result": "the answer"}), Leave())


def text(words: str, after: float = 0.0) -> Say:
    return Say({"type": "message", "text": words}, after)


@attrs.define(eq=False)
class FakeRun:
    """A command that follows a script by Trio's clock."""

    task: Task
    began: float
    slot: trio.Semaphore
    ended: trio.Event = attrs.field(factory=trio.Event)
    running: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    exit: Exit | None = None
    asked: list[tuple[str, float]] = attrs.field(factory=list)

    async def state(self) -> str:
        return "ended" if self.exit else "running" if self.running.is_set() else "queued"

    async def started(self) -> None:
        await self.running.wait()

    async def wait(self) -> Exit:
        await self.ended.wait()
        assert self.exit is not None
        return self.exit

    async def end(self, cause: str, grace_seconds: float) -> None:
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
        cause = self.asked[0][0] if code is None else None
        self.exit = Exit(
            exit_code=code,
            signal="SIGTERM" if code is None else None,
            ended=utc_now(),
            duration_seconds=trio.current_time() - self.began,
            cause=cause,  # type: ignore[arg-type]
        )
        self.ended.set()

    async def _follow(self, script: Script) -> int:
        with (self.task.directory / "stdout.jsonl").open("a") as file:
            for step in script:
                match step:
                    case Say():
                        await trio.sleep(step.after)
                        file.write(json.dumps(step.data) + "\n")
                        file.flush()
                    case Leave():
                        await trio.sleep(step.after)
                        return step.exit_code
                    case Hang():
                        await trio.sleep_forever()
        raise AssertionError("a script ends with Leave or Hang")


@attrs.define(eq=False)
class FakePlace:
    """The place ``fake`` with an agent of the same name, which does what ``script`` says for each task."""

    nursery: trio.Nursery
    script: Callable[[Task], Script] = lambda _: ANSWER
    types: tuple[WorkerType, ...] = (WorkerType("fake", "fake", "fake"),)
    fail_spawn_at: int | None = None
    runs: list[FakeRun] = attrs.field(factory=list)
    spawned: list[str] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)
    width: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(1000))

    @hookimpl
    def worker_types(self) -> tuple[WorkerType, ...]:
        return self.types

    @hookimpl
    def spawn(self, worker: Worker) -> object:
        return self._spawn(worker)

    async def _spawn(self, worker: Worker) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        if len(self.spawned) == self.fail_spawn_at:
            raise RuntimeError("no room")
        self.spawned.append(worker.worker_id)
        return {"room": len(self.spawned)}

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> Command:
        if task.prompt == "raise":
            raise RuntimeError("the agent is broken")
        return Command(("fake",), task.prompt)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> GenericParser:
        return GenericParser()

    @hookimpl
    def launch(self, task: Task) -> object:
        return self._launch(task)

    async def _launch(self, task: Task) -> FakeRun:
        await trio.lowlevel.checkpoint()
        run = FakeRun(task, 0.0, self.width)
        self.runs.append(run)
        self.nursery.start_soon(run.play, self.script(task))
        return run

    @hookimpl
    def close(self, worker: Worker) -> object:
        return self._close(worker)

    async def _close(self, worker: Worker) -> None:
        await trio.lowlevel.checkpoint()
        self.closed.append(worker.worker_id)


@attrs.define(eq=False)
class FakeStorage:
    """Keeps results in a list; fails as long as ``broken``."""

    broken: bool = False
    kept: list[tuple[str, WorkerResult]] = attrs.field(factory=list)

    @hookimpl
    def store_result(self, task: Task, result: WorkerResult) -> object:
        return self._store(task, result)

    async def _store(self, task: Task, result: WorkerResult) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise OSError("no space left")
        self.kept.append((task.task_id, result))


def app_of(tmp_path: Path, **plugins: object) -> App:
    """An app on a fresh state directory with just these plugins, and the shipped settings."""
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return App(host_of(plugins), StateDir(tmp_path / "state"), environ=environ)
