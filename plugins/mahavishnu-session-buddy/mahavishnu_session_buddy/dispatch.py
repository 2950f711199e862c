"""An engine's part in the sending: a result goes into the outbox, and a relay is there that sends it."""

from __future__ import annotations

import fcntl
import os
import select
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_session_buddy.letter import compose, compose_log
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.target import target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine, Task, Worker, WorkerResult
    from mahavishnu_core.models import LogBatch
    from mahavishnu_session_buddy.letter import Letter

_PAUSE = 5.0
"""Seconds between two relays of one engine."""
_left: list[Relay] = []
"""Relays that have outlived their engines in this process, and are to be reaped."""


async def post(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> None:
    """Have a result sent by and by. It is safe in the outbox when this returns, which waits for nobody.

    Its letter is made when it is sent, unless its prompt holds a secret, which another sender may not know.
    """
    dispatch = await engine.hold("session-buddy", partial(open_dispatch, engine))
    secrets = engine.secrets_of(worker)
    has_secret = any(secret in task.prompt for secret in secrets)
    dispatch.post(task.task_id, compose(worker, task, result, secrets) if has_secret else None)


async def post_log(engine: Engine, worker: Worker, batch: LogBatch) -> None:
    """The same for lines of a log, in as many letters as they need."""
    dispatch = await engine.hold("session-buddy", partial(open_dispatch, engine))
    for name, letter in compose_log(worker, batch, engine.secrets_of(worker)):
        dispatch.post(name, letter)


@asynccontextmanager
async def open_dispatch(engine: Engine) -> AsyncIterator[Dispatch]:
    """The engine's part, for as long as it lives; what it has not sent then, a relay sends afterwards."""
    outbox = Outbox.of(engine.state_dir)
    outbox.prepare()
    dispatch = Dispatch(engine, outbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatch.serve)  # noqa: ASYNC113  # what is posted before it runs waits for it
        try:
            yield dispatch
        finally:
            dispatch.leave()
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Dispatch:
    """Sees to it that a relay runs while there is something to send and it is time to try."""

    _engine: Engine
    _outbox: Outbox
    _posted: trio.Event = attrs.field(factory=trio.Event)
    _relay: Relay | None = None

    def post(self, name: str, letter: Letter | None = None) -> None:
        """Have it sent; without a letter it is made from the state directory then."""
        self._outbox.put(name, letter)
        self._posted.set()

    async def serve(self) -> None:
        while True:
            await self._posted.wait()
            self._posted = trio.Event()
            failure = self._outbox.failure()
            await trio.sleep(failure.seconds_left if failure else 0)
            self._relay = start_relay(self._engine)
            await self._relay.ended()
            if self._outbox.waiting():
                self._posted.set()
                await trio.sleep(_PAUSE)

    def leave(self) -> None:
        """Have a relay send the rest, unless it is too early to try again. Waits for nothing."""
        relay, failure = self._relay, self._outbox.failure()
        is_due = failure is None or not failure.seconds_left
        if (relay is None or not relay.is_running) and is_due and self._outbox.waiting():
            relay = start_relay(self._engine)
        if relay is not None:
            relay.let_go()


@attrs.define(eq=False)
class Relay:
    """A process that sends; it gets to know by the pipe that its engine is gone."""

    _pid: int
    _pipe: int
    _process: int
    """Readable when the process has ended."""

    @property
    def is_running(self) -> bool:
        return self._process >= 0 and not select.select([self._process], [], [], 0)[0]

    async def ended(self) -> None:
        await trio.lowlevel.wait_readable(self._process)
        self._close()

    def let_go(self) -> None:
        """Have it end when it has sent what there is; the next one in this program reaps it."""
        if self.is_running:
            os.close(self._pipe)
            self._pipe = -1
            _left.append(self)
        else:
            self._close()

    def reap(self) -> bool:
        """Whether it has ended, and nothing of it is left."""
        if not self.is_running:
            self._close()
        return self._process < 0

    def _close(self) -> None:
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        for descriptor in (self._pipe, self._process):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self._process = -1


def start_relay(engine: Engine) -> Relay:
    """A relay in a session of its own; what goes wrong with it is in ``relay.log``."""
    _left[:] = [relay for relay in _left if not relay.reap()]
    app = engine.app
    target = target_of(app.loaded.settings, app.environ)
    # -P: the working directory may be anybody's, and is no place to import from
    words = [sys.executable, "-P", "-m", "mahavishnu_session_buddy.relay"]
    words += [str(engine.state_dir), str(app.config_dir or ""), "" if target.command else target.url]
    pipe, theirs = _pipe()
    log = os.open(
        Outbox.of(engine.state_dir).root / "relay.log",
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
    )
    try:
        pid = os.posix_spawn(
            sys.executable,
            words,
            {**app.environ, "MAHAVISHNU_STATE_DIR": str(engine.state_dir)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, here, there) for here, there in ((theirs, 0), (log, 1), (log, 2))
            ],
            setsid=True,
        )
    except BaseException:
        os.close(pipe)
        raise
    finally:
        os.close(theirs)
        os.close(log)
    return Relay(pid, pipe, os.pidfd_open(pid))


def _pipe() -> tuple[int, int]:
    """The end that is closed and the end that tells of it; neither where a standard stream would be."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    ends = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in (writing, reading))
    os.close(reading)
    os.close(writing)
    return ends[0], ends[1]
