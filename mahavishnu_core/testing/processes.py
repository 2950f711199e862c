"""Looks at real processes: which of them a test has left, which keepers there are, and when they are gone."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from mahavishnu_core.keeper.family import Process, descendants, read_process, snapshot, task_of


def keepers(state_dir: Path) -> list[Process]:
    """The keepers of a state directory; a child that is about to become a command looks like one."""
    found = [process for process in snapshot().values() if _is_keeper(process, state_dir)]
    pids = {process.pid for process in found}
    return [process for process in found if process.parent not in pids]


def left_by_test(tmp_path: Path) -> list[Process]:
    """Every process that a test has started and that lives: by its marks, its directory or its words."""
    table = snapshot()
    tasks = {path.name for path in tmp_path.glob("**/tasks/*")}
    ours = [pid for pid in table if pid != os.getpid() and _is_of(pid, tmp_path, tasks)]
    return list(descendants(table, ours).values())


def wait_until_gone(find: Callable[[], list[Process]], seconds: float) -> list[Process]:
    """Wait until ``find`` finds nothing; what it still finds when the time is up."""
    end = time.monotonic() + seconds
    while (found := find()) and (left := end - time.monotonic()) > 0:
        _wait_for_one(found, left)
    return found


async def gone(pid: int) -> None:
    """Return when a process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def lives(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and not process.is_zombie


def environment(pid: int) -> bytes:
    """What a process was given when it began."""
    return _read(pid, "environ")


def command_line(pid: int) -> bytes:
    """Its words, each ended by a NUL; nothing of a process that has ended."""
    return _read(pid, "cmdline")


def open_files(pid: int) -> dict[int, str]:
    """What each file descriptor of a process is, but for those that it closes meanwhile."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found[int(entry.name)] = str(entry.readlink())
    return found


def resident_kb(pid: int) -> int:
    """The memory of a process that is in use."""
    lines = _read(pid, "status").decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _wait_for_one(processes: list[Process], seconds: float) -> None:
    poll, fds = select.poll(), []
    for process in processes:
        try:
            fds.append(os.pidfd_open(process.pid))
        except ProcessLookupError:
            continue
        poll.register(fds[-1], select.POLLIN)
    if len(fds) == len(processes):
        poll.poll(seconds * 1000)
    for fd in fds:
        os.close(fd)


def _is_keeper(process: Process, state_dir: Path) -> bool:
    words = command_line(process.pid).split(b"\0")
    starts = b"keeper.main" in b" ".join(words) and os.fsencode(state_dir) in words
    return starts and process.pid == process.session


def _is_of(pid: int, tmp_path: Path, tasks: set[str]) -> bool:
    path = os.fsencode(tmp_path)
    if path in command_line(pid) or path in _read(pid, "environ") or task_of(pid) in tasks:
        return True
    try:
        return os.fsencode(Path(f"/proc/{pid}/cwd").readlink()).startswith(path)
    except OSError:
        return False


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
