"""The relay as its engine sees it: started, told by a pipe that the engine is gone, and reaped."""

from __future__ import annotations

import fcntl
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.target import target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine

_MOST_LOG_BYTES = 1 << 20
_left: list[Relay] = []
"""Relays that have outlived their engines in this process, and are to be reaped."""


@attrs.define(eq=False)
class Relay:
    """A process that sends; it gets to know by the pipe that its engine is gone."""

    _pid: int
    _pipe: int
    _process: int
    """Readable when the process has ended; -1 once it is reaped."""
    _status: int = 0

    @property
    def is_running(self) -> bool:
        if self._process < 0:
            return False
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return not poll.poll(0)

    async def ended(self) -> int:
        """Its exit status, once it has ended; minus a signal's number."""
        await trio.lowlevel.wait_readable(self._process)
        self._close()
        return self._status

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
        if self._process >= 0:
            with suppress(ChildProcessError):
                self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        for descriptor in (self._pipe, self._process):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self._process = -1


def start_relay(engine: Engine) -> Relay:
    """A relay in a session of its own; what goes wrong with it is in ``relay.log``. Raises OSError."""
    _left[:] = [relay for relay in _left if not relay.reap()]
    log = _open_log(Outbox.of(engine.state_dir))
    try:
        ours, theirs = _pipe()
        try:
            pid = _spawn(engine, theirs, log)
            return Relay(pid, ours, _watch(pid))
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
    finally:
        os.close(log)


def _spawn(engine: Engine, pipe: int, log: int) -> int:
    app = engine.app
    target = target_of(app.loaded.settings, app.environ)
    # -P: the working directory may be anybody's, and is no place to import from
    words = [sys.executable, "-P", "-m", "mahavishnu_session_buddy.relay"]
    words += [str(engine.state_dir), str(app.config_dir or ""), "" if target.command else target.url]
    streams = ((pipe, 0), (log, 1), (log, 2))
    return os.posix_spawn(
        sys.executable,
        words,
        {**app.environ, "MAHAVISHNU_STATE_DIR": str(engine.state_dir)},
        file_actions=[(os.POSIX_SPAWN_DUP2, here, there) for here, there in streams],
        setsid=True,
    )


def _watch(pid: int) -> int:
    """A descriptor that tells of the end of a child; without one the child is let go, its pipe closed."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def _open_log(outbox: Outbox) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = _above_streams(os.open(outbox.root / "relay.log", flags, 0o600))
    if os.fstat(log).st_size > _MOST_LOG_BYTES:
        os.ftruncate(log, 0)
    return log


def _pipe() -> tuple[int, int]:
    """The end that is closed, and the end that tells of it."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return _above_streams(writing), _above_streams(reading)


def _above_streams(descriptor: int) -> int:
    """The same file, not where a standard stream would be: the child's would be put over it."""
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)
