"""What a shim does once its command is being started: listens, watches over it, and reports how it ended."""

from __future__ import annotations

import errno
import os
import signal
import time
from _json import encode_basestring_ascii as quoted

from mahavishnu_container.shim.api import Daemon, DaemonError
from mahavishnu_container.shim.box import PROGRESS
from mahavishnu_container.shim.progress import ProgressSocket
from mahavishnu_container.shim.watch import Ended, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mahavishnu_container.shim.box import Box
    from mahavishnu_container.shim.start import Command, Starting

_NEW = "shim.new"
"""The report until it is whole."""
_ROOM = b" " * (1 << 14)
"""Kept for it from the start, so that a command that fills the disk can still be reported on."""
_MOST_TRIES = 50
_NO_ROOM = 0.2
"""How often, and after how many seconds, a longer report is tried again on a full disk."""


def follow(
    box: Box, directory: str, socket_path: str, container: str, command: Command, starting: Starting | None
) -> Ended:
    """See a command through to the end of its family."""
    wakeup = _hear_terms()
    try:
        _write(_ROOM, directory)
        progress = ProgressSocket(PROGRESS, directory)
        box.open_to_command(PROGRESS)
        watch = Watch(Daemon(socket_path, container, wakeup), command, box.open(), progress, wakeup)
        return watch.run(starting)
    except DaemonError as error:
        return Ended(error=_explained(error), reason="container")
    except OSError as error:  # the disk is full, or an earlier command has meddled
        return Ended(error=f"what it shares with its container cannot be used: {error}", reason="container")


def report(ended: Ended, directory: str) -> None:
    """Leave word for the keeper; on a full disk there may have to be room first. Raises OSError."""
    # where it names no exit status, the keeper takes this program's own for the command's
    told = Ended(exit_code=None) | ended
    text = f"{{{', '.join(f'{quoted(name)}: {_as_json(value)}' for name, value in told.items())}}}"
    for _ in range(_MOST_TRIES):
        try:
            _write(text.encode().ljust(len(_ROOM)), directory)
            break
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        time.sleep(_NO_ROOM)
    os.rename(f"{directory}/{_NEW}", f"{directory}/shim.json")


def _write(content: bytes, directory: str) -> None:
    """Write over what is there, in the room that it has."""
    path = f"{directory}/{_NEW}"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb", buffering=0) as file:
        if file.write(content) < len(content):
            raise OSError(errno.ENOSPC, "the disk is full")


def _hear_terms() -> int:
    """Have the signals that ask for the end come in by a pipe; the keeper has blocked them until now."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGQUIT))
    return reader


def _explained(error: DaemonError) -> str:
    if error.status == 404:
        return "its container is gone: close the worker, and spawn another"
    return f"starting it in its container failed: {error}"


def _as_json(value: str | int | list[str] | None) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, str):
        return quoted(value)
    return "null" if value is None else str(value)
