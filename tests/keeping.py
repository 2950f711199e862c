"""A bench for tests of the keeper: commands made short, and FIFOs by which they and a test can wait."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

import mahavishnu_core
from mahavishnu_core.keeper.spawn import Launch
from mahavishnu_core.keeper_link import KeeperLink, LocalRun, open_keeper
from mahavishnu_core.models import Exit, Task, Worker, WorkerType, utc_now
from mahavishnu_core.testing.processes import gone, keepers

if TYPE_CHECKING:
    from mahavishnu_core.state import StateDir

SHELL = "/bin/sh"
HOME = Path(mahavishnu_core.__file__).parents[1]
_CHANGED = """
import sys
sys.path.append(sys.argv.pop(1))
import mahavishnu_core.keeper.main as keeper
import mahavishnu_core.keeper.server as server
{change}
keeper.main()
"""
"""Starts a keeper in which something is not as it is."""
NO_GROUPS = "keeper.open_groups = lambda: None"
"""As if this machine had no control groups."""
LIMIT = 30
"""Seconds for what a test does with one link: far more than any needs."""


@attrs.define
class Fifo:
    """Held open at both ends, so that nobody waits for the other one to come."""

    path: Path
    _fd: int
    _rest: bytes = b""

    @classmethod
    def make(cls, path: Path) -> Fifo:
        os.mkfifo(path)
        return cls(path, os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))

    async def line(self) -> str:
        """The next line that a command has written here."""
        while b"\n" not in self._rest:
            await trio.lowlevel.wait_readable(self._fd)
            self._rest += os.read(self._fd, 4096)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    def let_in(self, count: int = 1) -> None:
        """Let so many commands on that ``read`` a line from here."""
        os.write(self._fd, b"\n" * count)

    def close(self) -> None:
        os.close(self._fd)


@attrs.frozen
class Done:
    """A command that has ended, with what it wrote."""

    exit: Exit
    directory: Path

    @property
    def stdout(self) -> bytes:
        return (self.directory / "stdout.jsonl").read_bytes()

    @property
    def stderr(self) -> bytes:
        return (self.directory / "stderr.log").read_bytes()


@attrs.frozen
class Bench:
    """A state directory, and a directory in which commands run."""

    state: StateDir
    cwd: Path
    has_groups: bool = True
    """Whether its keeper may use control groups, where this machine lets it."""

    def task(self, timeout: float = 20, *, stdin: bytes = b"") -> Task:
        """A task of a new worker, as it lies on disk when its place is asked to run it."""
        worker = Worker(self.state.new_worker_id(), WorkerType("shell", "shell"), self.cwd, utc_now())
        self.state.add_worker(worker)
        task = self.state.add_task(worker, "a prompt", timeout)
        (task.directory / "stdin").write_bytes(stdin)
        return task

    def launch(
        self, task: Task, *argv: str, env: Mapping[str, str] | None = None, **changes: object
    ) -> Launch:
        given = {"PATH": os.environ["PATH"], "MAHAVISHNU_TASK": task.task_id}
        launch = Launch(
            task_id=task.task_id,
            directory=str(task.directory),
            argv=list(argv),
            stdin=f"{task.directory}/stdin",
            cwd=str(self.cwd),
            env=given | dict(env or {}),
            umask=0o022,
            timeout=task.timeout_seconds,
            limit=100,
            detached=False,
        )
        return launch._replace(**changes)

    def start(
        self, link: KeeperLink, *argv: str, timeout: float = 20, stdin: bytes = b"", **changes: object
    ) -> LocalRun:
        task = self.task(timeout, stdin=stdin)
        return link.launch(task, self.launch(task, *argv, **changes))

    def sh(self, link: KeeperLink, script: str, **more: object) -> LocalRun:
        return self.start(link, SHELL, "-c", script, **more)

    async def run(self, *argv: str, **more: object) -> Done:
        """Run one command, with a keeper for it alone, and wait for its end."""
        async with self.link() as link:
            run = self.start(link, *argv, **more)
            ended = await run.wait()
        return Done(ended, run.task.directory)

    async def run_sh(self, script: str, **more: object) -> Done:
        return await self.run(SHELL, "-c", script, **more)

    async def run_alone(self, bell: Fifo, script: str, **more: object) -> Exit:
        """How a command ends that tells its pid by the bell, and whose engine leaves then."""
        async with self.link() as link:
            run = self.sh(link, script, **more)
            pid = int(await bell.line())
        await gone(pid)
        async with self.link() as link:
            return await link.watch(run.task).wait()

    @asynccontextmanager
    async def link(self) -> AsyncIterator[KeeperLink]:
        """An engine's link to the keeper; leaving it is what an engine does that ends or is killed."""
        with trio.fail_after(LIMIT):
            if not self.has_groups:
                await self.start_keeper(NO_GROUPS)
            async with open_keeper(self.state.root) as link:
                yield link

    async def start_keeper(self, change: str) -> None:
        """Have one with that change in it: the next link finds it."""
        code = _CHANGED.format(change=change)
        words = [sys.executable, "-I", "-S", "-c", code, str(HOME), str(self.state.root)]
        await trio.run_process(words, env={}, start_new_session=True)

    def keeper(self) -> int:
        """The pid of the keeper, of which there is one."""
        (process,) = keepers(self.state.root)
        return process.pid
