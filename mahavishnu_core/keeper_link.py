"""An engine's connection to the keeper: starts one where there is none, and finds back after it was lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import StateDirError
from mahavishnu_core.keeper.kept import was_launched
from mahavishnu_core.models import JSON, Cause, Exit, Task
from mahavishnu_core.records import exit_from_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mahavishnu_core.hookspecs import RunState
    from mahavishnu_core.keeper.spawn import Launch

_PACKAGE_HOME = Path(__file__).parent.parent
_START = "import sys; sys.path.append({home!r}); from mahavishnu_core.keeper.main import main; main()"
_PATIENCE = 20.0
"""Seconds in which a keeper must have come up, on however loaded a machine."""
_LOST_PATIENCE = 60.0
"""Seconds in which a keeper must be there again where one was lost: commands that run can wait for it."""
_RETRY = 1.0
_GONE = {errno.ENOENT, errno.ECONNREFUSED}
_FILES_ARE_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EAGAIN}
"""No more files may be open, or too many engines call at once: tasks that end give theirs back."""


@attrs.define(eq=False)
class LocalRun:
    """A command in the keeper's hands."""

    task: Task
    _link: KeeperLink
    _launch: Launch | None
    quiet_seconds: float = 0.0
    """How long it had put out nothing when the keeper last spoke of it, at least."""
    _was_seen: bool = False
    _asked_to_end: dict[str, JSON] | None = None
    _state: RunState = "queued"
    _exit: Exit | None = None
    _lost: StateDirError | None = None
    _known: trio.Event = attrs.field(factory=trio.Event)
    _started: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)

    async def state(self) -> RunState:
        """Raises StateDirError where there is no keeper who knows it; so do ``started`` and ``wait``."""
        await self._wait_for(self._known)
        return self._state

    async def started(self) -> None:
        await self._wait_for(self._started)

    async def wait(self) -> Exit:
        await self._wait_for(self._ended)
        assert self._exit is not None  # noqa: S101  # set before the event
        return self._exit

    async def _wait_for(self, event: trio.Event) -> None:
        await event.wait()
        if self._lost is not None:
            raise self._lost

    async def end(self, cause: Cause, grace_seconds: float) -> None:
        self._asked_to_end = {
            "op": "end",
            "task_id": self.task.task_id,
            "cause": cause,
            "grace": grace_seconds,
        }
        self._link.say(self._asked_to_end)
        await trio.lowlevel.checkpoint()

    def requests(self) -> list[dict[str, JSON]]:
        """What to say to a keeper that may know nothing of this command."""
        first = self._watch() if self._was_seen or self._launch is None else self._as_launch(self._launch)
        self._was_seen = True
        return [first, self._asked_to_end] if self._asked_to_end else [first]

    def hear(self, state: str, exit_record: dict[str, JSON] | None, quiet_seconds: float = 0.0) -> None:
        """Take in what the keeper says."""
        self.quiet_seconds = quiet_seconds
        if state == "queued":
            self._known.set()
        elif state == "running":
            self._state = "running"
            self._known.set()
            self._started.set()
        elif state == "unknown" and self._asked_to_end:  # it may still wait for a slot in its own engine
            self._end_with(Exit(cause="cancelled", error="cancelled before it was started"))
        elif state == "unknown" and self._launch is None:
            self._end_with(Exit(cause="cancelled", error="its engine ended before it could be started"))
        elif state == "unknown" and self._launch is not None:
            self._link.say(self._as_launch(self._launch))  # the keeper that took it died before it began
        elif exit_record is not None:
            self._end_with(exit_from_json(exit_record))

    def give_up(self, error: StateDirError) -> None:
        """No keeper is there to ask: it was never begun, or nobody can say how it goes on."""
        if self._launch is not None and not was_launched(str(self.task.directory)):
            self._end_with(Exit(error=str(error)))
        else:
            self._lost = error
            self._wake()

    @property
    def is_running(self) -> bool:
        return self._state == "running"

    @property
    def has_ended(self) -> bool:
        return self._exit is not None

    def _end_with(self, seen: Exit) -> None:
        self._exit, self._state = seen, "ended"
        self._wake()

    def _wake(self) -> None:
        self._known.set()
        self._started.set()
        self._ended.set()

    def _watch(self) -> dict[str, JSON]:
        directory = str(self.task.directory)
        timeout = self.task.timeout_seconds
        return {"op": "watch", "task_id": self.task.task_id, "directory": directory, "timeout": timeout}

    @staticmethod
    def _as_launch(launch: Launch) -> dict[str, JSON]:
        return {"op": "launch", **launch._asdict()}


@attrs.define(eq=False)
class KeeperLink:
    """What this engine has said to the keeper and wants to hear of. Needs ``serve`` running beside it."""

    state_dir: Path
    _runs: dict[str, LocalRun] = attrs.field(factory=dict)
    _outbox: list[bytes] = attrs.field(factory=list)
    _has_post: trio.Event = attrs.field(factory=trio.Event)
    _lost_at: float = 0.0

    def launch(self, task: Task, launch: Launch) -> LocalRun:
        return self._add(LocalRun(task, self, launch))

    def watch(self, task: Task) -> LocalRun:
        return self._runs.get(task.task_id) or self._add(LocalRun(task, self, None))

    def say(self, message: dict[str, JSON]) -> None:
        self._outbox.append(json.dumps(message).encode() + b"\n")
        self._has_post.set()

    def _add(self, run: LocalRun) -> LocalRun:
        self._runs[run.task.task_id] = run
        for message in run.requests():
            self.say(message)
        return run

    async def serve(self) -> None:
        """Talk to the keeper whenever there is something to say, and again after it was lost."""
        while True:
            await self._has_post.wait()
            stream = await self._connect()
            if stream is not None:
                async with stream:
                    await self._converse(stream)
                self._lost_at = trio.current_time()
            self._begin_anew()

    async def _connect(self) -> trio.SocketStream | None:
        """A connection, None where there is no keeper to be had: what has not begun has failed then.

        What runs can wait for it a while, and is left to a later engine after that.
        """
        failure: StateDirError | None = None
        try:
            return await connect(self.state_dir)
        except StateDirError as error:
            failure = error
        is_over = trio.current_time() > self._lost_at + _LOST_PATIENCE
        for task_id, run in list(self._runs.items()):
            if is_over or not run.is_running:
                run.give_up(failure)
                del self._runs[task_id]
        if self._runs:
            await trio.sleep(_RETRY)
        return None

    def _begin_anew(self) -> None:
        """The next keeper knows nothing of what was said to the one before."""
        self._outbox.clear()
        self._has_post = trio.Event()
        for run in self._runs.values():
            for message in run.requests():
                self.say(message)

    async def _converse(self, stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._post, stream)
            await self._listen(stream)
            nursery.cancel_scope.cancel()

    async def _post(self, stream: trio.SocketStream) -> None:
        while True:
            await self._has_post.wait()
            self._has_post = trio.Event()
            letters, self._outbox = b"".join(self._outbox), []
            try:
                await stream.send_all(letters)
            except trio.BrokenResourceError:
                return  # the listener sees the end too

    async def _listen(self, stream: trio.SocketStream) -> None:
        rest = b""
        while True:
            try:
                chunk = await stream.receive_some(1 << 16)
            except trio.BrokenResourceError:
                return
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, message: dict[str, JSON]) -> None:
        run = self._runs.get(str(message["task_id"]))
        if run is None:
            return
        record = message.get("exit")
        quiet = message.get("quiet")
        run.hear(
            str(message["state"]),
            record if isinstance(record, dict) else None,
            quiet if isinstance(quiet, float) else 0.0,
        )
        if run.has_ended:
            del self._runs[run.task.task_id]


@asynccontextmanager
async def open_keeper(state_dir: Path) -> AsyncIterator[KeeperLink]:
    """The link to the keeper of a state directory, for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        link = KeeperLink(state_dir)
        nursery.start_soon(link.serve)  # noqa: ASYNC113  # what is said before it runs waits for it
        yield link
        nursery.cancel_scope.cancel()


async def connect(state_dir: Path) -> trio.SocketStream:
    """A connection to the keeper, which is started where there is none. Raises StateDirError."""
    with trio.move_on_after(_PATIENCE):
        while True:
            try:
                return await _connect_once(state_dir)
            except OSError as error:
                is_gone = error.errno in _GONE
                if not is_gone and error.errno not in _FILES_ARE_SHORT:
                    text = f"the keeper of {str(state_dir)!r} cannot be reached: {error.strerror or error}"
                    raise StateDirError(text) from None
            if is_gone:
                await _start_keeper(state_dir)
            await trio.sleep(0.01)  # a keeper that is just leaving holds its lock a moment longer
    raise StateDirError(f"the keeper of {str(state_dir)!r} does not answer: see keeper.log there")


async def _connect_once(state_dir: Path) -> trio.SocketStream:
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # by way of /proc: the path of a socket may have 107 bytes, that of a state directory more
        return await trio.open_unix_socket(f"/proc/self/fd/{directory}/keeper.sock")
    finally:
        os.close(directory)


async def _start_keeper(state_dir: Path) -> None:
    code = _START.format(home=str(_PACKAGE_HOME))
    try:
        done = await trio.run_process(
            [sys.executable, "-I", "-S", "-c", code, str(state_dir)],
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            start_new_session=True,
            env={},  # it outlives us, and what it does not have it cannot leak
            cwd="/",
        )
    except (OSError, RuntimeError) as error:  # no process, no thread or no open file is to be had
        if isinstance(error, OSError) and error.errno in _FILES_ARE_SHORT - {errno.EAGAIN}:
            return
        raise StateDirError(f"the keeper of {str(state_dir)!r} cannot be started: {error}") from None
    if done.returncode > 0:  # one that was killed before it listened is started again
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise StateDirError(f"the keeper of {str(state_dir)!r} did not start: {lines[-1] if lines else ''}")
