"""A yard for tests: worker types in containers of the test's daemon, an engine, and looks into containers."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import App

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mahavishnu_core import WorkerResult
    from mahavishnu_core.models import Exit, Task

    from .daemon import Daemon

LIMIT = 55
"""Seconds for what a test does: far more than any needs."""
_RESIDENTS = ("/sbin/docker-init -- ", "/run/podman-init -- ", "sleep 2147483647")
"""What runs in a container that has nothing to do."""


@attrs.define(eq=False)
class Yard:
    """A workspace, a state directory, and worker types as the test wants them."""

    app: App
    daemon: Daemon
    image: str
    workspace: Path
    _types: list[dict[str, object]] = attrs.field(factory=list)

    def add_type(self, name: str = "boxed", **changes: object) -> None:
        """A worker type: command lines in a container, unless it says otherwise. For an app not read yet."""
        kind = {
            "name": name,
            "agent": "shell",
            "place": "container",
            "command_template": "/bin/sh -c",
            "progress_tracking": "lines",
        } | changes
        if kind["place"] == "container":
            kind["options"] = {"image": self.image, "pull": "never"} | kind.get("options", {})
        self._types.append(kind)
        config = Path(os.environ["HOME"], ".config/mahavishnu/ecosystem.yaml")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps({"workers": self._types}))

    @asynccontextmanager
    async def manager(self, app: App | None = None, **options: object) -> AsyncIterator[WorkerManager]:
        """An engine. ``options`` are those of the type ``boxed``, which is there when no other was added."""
        if options or not self._types:
            self.add_type(options=options)
        with trio.fail_after(LIMIT):
            async with WorkerManager(app or self.app) as manager:
                yield manager

    @asynccontextmanager
    async def worker(self, **options: object) -> AsyncIterator[Boxed]:
        """A worker, closed in the end."""
        async with self.manager(**options) as manager:
            boxed = await self.spawn(manager)
            try:
                yield boxed
            finally:
                with trio.move_on_after(LIMIT, shield=True):
                    await manager.close_worker(boxed.worker_id, grace_seconds=0)

    async def spawn(self, manager: WorkerManager, kind: str = "boxed") -> Boxed:
        (worker_id,) = await manager.spawn_workers(kind, repo=self.workspace)
        return Boxed(self, manager, worker_id)

    def same_app(self) -> App:
        """What another program finds that starts now."""
        return App(self.app.host, self.app.state, environ=os.environ)


@attrs.frozen
class Boxed:
    """A worker in a container."""

    yard: Yard
    manager: WorkerManager
    worker_id: str

    async def do(self, prompt: str, seconds: float = 40) -> WorkerResult:
        return await self.manager.execute_task(self.worker_id, prompt, timeout_seconds=seconds)

    async def submit(self, prompt: str, seconds: float = 40) -> str:
        return await self.manager.submit_task(self.worker_id, prompt, timeout_seconds=seconds)

    @property
    def container(self) -> Container:
        return self.yard.daemon.client.containers.get(f"mahavishnu-{self.worker_id}")

    @property
    def directory(self) -> Path:
        """Where the state directory has it."""
        return self.manager.app.state.root / "workers" / self.worker_id

    @property
    def task(self) -> Task:
        """The latest one."""
        task = self.manager.app.state.last_task(self.worker_id)
        assert task is not None
        return task

    @property
    def exit(self) -> Exit:
        """How it ended."""
        ended = self.manager.app.state.exit(self.task)
        assert ended is not None
        return ended

    @property
    def stdout(self) -> bytes:
        """What it has put out so far."""
        task = self.manager.app.state.last_task(self.worker_id)
        try:
            return b"" if task is None else (task.directory / "stdout.jsonl").read_bytes()
        except FileNotFoundError:
            return b""

    @property
    def stderr(self) -> str:
        return (self.task.directory / "stderr.log").read_text()

    @property
    def shim(self) -> int:
        """The pid of what stands for it."""
        return int(json.loads((self.task.directory / "launch.json").read_text())["pid"])

    @property
    def boxes(self) -> list[Path]:
        """What is in the directory that the container shares with us."""
        directory = self.directory / "boxes"
        return list(directory.iterdir()) if directory.exists() else []

    async def says(self, text: bytes) -> None:
        """Return when it has put this out."""
        await until(lambda: text in self.stdout)

    def processes(self) -> dict[int, str]:
        """What runs in the container for its tasks, by the pids that it has on this machine."""
        init = self.container.attrs["State"]["Pid"]
        return {pid: words for pid, words in _inside(init).items() if not words.startswith(_RESIDENTS)}

    def pids(self, word: str) -> list[int]:
        """The processes in the container that have a word in their command line."""
        return [pid for pid, words in self.processes().items() if word in words]


async def until(holds: Callable[[], object], pause: float = 0.02) -> None:
    """Return when something holds that gives no event."""
    while not holds():  # noqa: ASYNC110
        await trio.sleep(pause)


def _inside(init: int) -> dict[int, str]:
    """The command lines of all that lives in a process's name space of processes."""
    space = _space(init)
    found = {pid: _words(pid) for pid in _all_pids() if space and _space(pid) == space}
    return {pid: words for pid, words in found.items() if words}  # a zombie has none


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _words(pid: int) -> str:
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return content.replace(b"\0", b" ").decode(errors="replace").strip()
