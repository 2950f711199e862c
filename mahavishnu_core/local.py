"""The place ``local``: commands run as processes of this machine, started and ended by the keeper."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.environment import CallersEnvironment
from mahavishnu_core.errors import MissingError, UsageError
from mahavishnu_core.keeper.spawn import Launch
from mahavishnu_core.keeper_link import KeeperLink, LocalRun, open_keeper
from mahavishnu_core.state import StateDir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from mahavishnu_core.hookspecs import Engine
    from mahavishnu_core.models import JSON, Command, Task, Worker, WorkerType

_LONGEST_WORD = 128 * 1024
"""Bytes of one argument at which Linux refuses to start a program."""


class MayNotRun(MissingError):
    """A program is there, and is not executable."""


async def make_ready(worker: Worker) -> Mapping[str, JSON]:
    """A local worker needs nothing but its workspace. Raises UsageError where that is not a directory."""
    await trio.lowlevel.checkpoint()
    if not worker.workspace.is_dir():
        raise UsageError(f"{str(worker.workspace)!r} is not a directory: name an existing one with --repo")
    return {}


async def give_back() -> None:
    """A local worker takes nothing while it is idle."""
    await trio.lowlevel.checkpoint()


async def launch_command(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, *, detached: bool
) -> LocalRun:
    """Hand a command to the keeper, or find again the one that an earlier engine handed it."""
    place = await local_place(engine)
    if command is None:
        return place.link.watch(task)
    env = place.environment.compose(command, task.task_id)
    program = find_program(command.argv[0], env.get("PATH"), worker.workspace)
    return place.launch(
        task,
        argv=(program, *command.argv[1:]),
        stdin=command.stdin,
        env=env,
        cwd=str(worker.workspace),
        limit=limit,
        detached=detached,
        kind=worker.type,
    )


@attrs.frozen
class LocalPlace:
    """What an engine keeps of this place for its lifetime."""

    state_dir: Path
    link: KeeperLink
    environment: CallersEnvironment

    def launch(
        self,
        task: Task,
        *,
        argv: Sequence[str],
        stdin: str,
        env: dict[str, str],
        cwd: str,
        limit: int,
        detached: bool,
        kind: WorkerType,
        shim: str = "",
    ) -> LocalRun:
        """Hand a program to the keeper. Raises UsageError for words that Linux does not take."""
        _require_short_words(argv)
        if stdin:
            StateDir(self.state_dir).write_stdin(task, stdin)
        order = Launch(
            task_id=task.task_id,
            directory=str(task.directory),
            argv=list(argv),
            stdin=f"{task.directory}/stdin" if stdin else os.devnull,
            cwd=cwd,
            env=env,
            umask=_umask(),
            timeout=task.timeout_seconds,
            limit=limit,
            detached=detached,
            shim=shim,
            slotless=kind.standing,
            idle=None if kind.standing else kind.idle_seconds,
            needs_result=not kind.is_plain,
        )
        return self.link.launch(task, order)


async def local_place(engine: Engine) -> LocalPlace:
    """This place as an engine has it, with its link to the keeper."""
    return await engine.hold("local", lambda: _open_place(engine.state_dir))


@asynccontextmanager
async def _open_place(state_dir: Path) -> AsyncIterator[LocalPlace]:
    async with open_keeper(state_dir) as link:
        yield LocalPlace(state_dir, link, CallersEnvironment(os.environ))


def _require_short_words(words: Iterable[str]) -> None:
    longest = max(len(word.encode("utf-8", "surrogateescape")) for word in words)
    if longest >= _LONGEST_WORD:
        raise UsageError(
            f"a word of the command has {longest} bytes, Linux takes {_LONGEST_WORD - 1}: put the text into "
            "a file, or give it to an agent that reads its prompt from standard input"
        )


def find_program(name: str, path: str | None, workspace: Path) -> str:
    """The file of a program, as a shell in the workspace would find it. Raises MissingError, MayNotRun."""
    local = workspace / name
    found = shutil.which(local if "/" in name else name, path=path)
    if found is None:
        if "/" in name and local.is_file():
            raise MayNotRun(f"{name!r} may not be run: allow it with 'chmod +x'")
        raise MissingError(f"{name!r} is not installed, or not in PATH")
    return str(Path(found).absolute())


@cache
def _umask() -> int:
    """This program's umask. It can only be read by setting it, so Linux' own record is read instead."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)
