"""Starting one command: own session, own control group, output to the task's files, a file as its input."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_core.keeper.cgroup import ControlGroups

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
"""Whatever is there already was put there by another command."""
_RESET_SIGNALS = [
    number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)
]

SHIM_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
"""What asks a shim for the end: gently, at once. Two different ones: of two alike that wait, one is lost."""


class Launch(NamedTuple):
    """A command that an engine wants run: ``stdin`` is a file, ``timeout`` in seconds."""

    task_id: str
    directory: str
    argv: list[str]
    stdin: str
    cwd: str
    env: dict[str, str]
    umask: int
    timeout: float | None
    limit: int
    detached: bool
    shim: str = ""
    """What goes on without the command when it is killed (``container x``), if it stands for something."""
    slotless: bool = False
    """Whether it begins at once, and is none of those that ``limit`` counts."""
    idle: float | None = None
    """Seconds without output after which it is ended."""
    needs_result: bool = False
    """Whether it is of no use any more once it has closed its output."""


def spawn(launch: Launch, groups: ControlGroups | None) -> tuple[int, str | None]:
    """Start it; its pid and the path of its control group.

    Raises OSError when it cannot be started; then nothing is left of the attempt.
    """
    with _standing_in(launch):
        pid = _spawn(launch)
        return pid, groups.give() if groups else None


def _spawn(launch: Launch) -> int:
    stdout, stderr = f"{launch.directory}/stdout.jsonl", f"{launch.directory}/stderr.log"
    files = [
        (os.POSIX_SPAWN_OPEN, 0, launch.stdin, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, _FRESH, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, stderr, _FRESH, 0o600),
    ]
    try:
        return os.posix_spawn(
            launch.argv[0],
            launch.argv,
            launch.env,
            file_actions=files,
            setsid=True,
            # a shim lets them in as soon as it listens: one that died of them could end nothing, tell nothing
            setsigmask=SHIM_SIGNALS if launch.shim else (),
            setsigdef=_RESET_SIGNALS,
        )
    except FileExistsError as error:  # it names the program
        raise FileExistsError(error.errno, "its output is there already", launch.directory) from None
    except OSError:
        for path in (stdout, stderr):
            with suppress(FileNotFoundError):
                os.unlink(path)
        raise


@contextmanager
def _standing_in(launch: Launch) -> Iterator[None]:
    """Take on a command's directory and umask: posix_spawn has no way to set them.

    That is safe since the keeper has one thread.
    """
    home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(launch.cwd)
        os.umask(launch.umask)
        yield
    finally:
        os.umask(0o077)
        os.fchdir(home)
        os.close(home)
