"""Control groups: where the kernel lets us, each command gets one of its own, which descendants inherit.

A process can clear its environment, begin a session and lose its parent: it stays in its control group.
This needs a cgroup2 hierarchy that we may write, as systemd gives to users and root has, with
``cgroup.kill`` (Linux 5.14).
"""

from __future__ import annotations

import os

from mahavishnu_core.keeper.family import read_process


class ControlGroups:
    """The groups under one that this keeper has made, one for each command.

    The keeper waits in the group of the next command, which is born in it. Going to another one can take
    the kernel 17 ms when it was not done for some milliseconds (6.18), so it is done before it is needed.
    """

    def __init__(self, parent: str, base: str) -> None:
        self._parent = parent
        self._base = base
        self._here = _gone_to(self._made())
        """The group that we are in, where it is one for a command."""
        self._next = self._made()

    def give(self) -> str | None:
        """The group that we were in, to the command that was started just now; None if that has none.

        We are in it no longer, whatever it does to its group, and whatever is done to it for its group.
        """
        # the empty one may have been swept away: by another keeper, where a command of that has started us
        given, self._here = self._here, _gone_to(self._next) or _gone_to(self._made())
        is_left = self._here is not None or _gone_to(self._parent) is not None
        self._next = self._made()
        return given if is_left else None

    def close(self) -> None:
        """Give everything back. A group with a survivor in it stays, for a later keeper to sweep."""
        _gone_to(self._parent)
        remove(self._base)

    def _made(self) -> str | None:
        """A new group; None where there are too many, say: the process table will have to do."""
        group = f"{self._base}/{os.urandom(6).hex()}"  # none that an old launch.json may name
        try:
            os.makedirs(group)
        except OSError:
            return None
        return group


def open_groups() -> ControlGroups | None:
    """Control groups for the commands of this process; None where there are none to be had."""
    try:
        parent = _own_group()
        if parent is None:
            return None
        _sweep(parent)
        base = f"{parent}/mahavishnu-{os.getpid()}"
        os.mkdir(base)
        if not os.path.exists(f"{base}/cgroup.kill"):
            os.rmdir(base)
            return None
    except OSError:
        return None
    return ControlGroups(parent, base)


def is_available() -> bool:
    """Whether this process could have control groups; tried out, and given back."""
    try:
        parent = _own_group()
        if parent is None:
            return False
        probe = f"{parent}/mahavishnu-{os.getpid()}"
        os.mkdir(probe)
        found = os.path.exists(f"{probe}/cgroup.kill")
        os.rmdir(probe)
    except OSError:
        return False
    return found


def members(group: str) -> list[int]:
    """The processes in a group and in those that they have made below it; none once it is gone."""
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        try:
            with open(f"{directory}/cgroup.procs", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def kill(group: str) -> None:
    """KILL to all members at once, also to those that are being forked."""
    try:
        _write(f"{group}/cgroup.kill", "1")
    except OSError:  # it is gone, or was made a kind that cannot be killed: each member is sent one anyway
        return


def remove(group: str) -> None:
    """Remove a group and all below it, but for those that still have members."""
    try:
        os.rmdir(group)  # as nearly always
    except OSError:
        _remove_all(group)


def _remove_all(group: str) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            continue


def _own_group() -> str | None:
    """The directory of the cgroup2 group that this process is in."""
    with open("/proc/self/cgroup") as file:
        paths = [line.rstrip("\n")[3:] for line in file if line.startswith("0::")]
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split(" - ") for line in file]
    roots = [head.split()[4] for head, tail in mounts if tail.split()[0] == "cgroup2"]
    return f"{roots[0]}{paths[0]}".rstrip("/") if paths and roots else None


def _gone_to(group: str | None) -> str | None:
    """The group, once we have gone there; None where that cannot be."""
    try:
        if group is not None:
            _write(f"{group}/cgroup.procs", "0")
    except OSError:
        return None
    return group


def _sweep(parent: str) -> None:
    """Remove the empty groups that killed keepers have left."""
    for entry in os.listdir(parent):
        name, _, pid = entry.rpartition("-")
        if name == "mahavishnu" and pid.isdigit() and not _lives(int(pid)):
            remove(f"{parent}/{entry}")


def _lives(pid: int) -> bool:
    """A dead keeper may stay a zombie for ever, in a container whose first process does not care."""
    process = read_process(pid)
    return process is not None and not process.is_zombie


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
