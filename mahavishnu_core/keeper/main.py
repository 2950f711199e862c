"""The keeper's process: one per state directory, held by a lock; it detaches itself and serves.

Started by an engine as ``python -I -S -c …`` with the state directory as argument. The process that the
engine started exits at once: 0 when a keeper is listening.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys

from mahavishnu_core.keeper.cgroup import open_groups
from mahavishnu_core.keeper.server import Server

SOCKET = "keeper.sock"
_LOCK = "keeper.lock"
_LOG = "keeper.log"
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    os.umask(0o077)
    os.chdir(sys.argv[1])
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another keeper lives, and listens or is about to
    log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    listener = _listen()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)  # for people: `cat keeper.lock`
    _redirect(log)
    _adopt_orphans()
    groups = open_groups()
    server = Server(listener, _signals(), groups)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()
    if groups:
        groups.close()
    os.unlink(SOCKET)  # still under the lock: it is ours


def _listen() -> socket.socket:
    """A listening socket that nobody else may connect to. The path is relative: it may be too long."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = f"{SOCKET}.{os.getpid()}"
    listener.bind(temporary)
    os.chmod(temporary, 0o600)
    listener.listen(128)
    os.rename(temporary, SOCKET)
    return listener


def _redirect(log: int) -> None:
    """Nothing of the engine's terminal or pipes stays open; what goes wrong here is read in the log."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(log, 2)


def _adopt_orphans() -> None:
    """Have descendants that lose their parent come back to us instead of going to init."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _signals() -> int:
    """The end of a pipe that becomes readable when a child changes state or we are told to stop."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read


if __name__ == "__main__":
    main()
