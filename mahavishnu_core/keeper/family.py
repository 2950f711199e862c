"""What /proc says: which processes exist, who descends from whom, and which task a process belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

MARK = "MAHAVISHNU_TASK"
"""Environment variable that names the task a process was started for; descendants inherit it."""


class Process(NamedTuple):
    """One line of the process table. ``start`` is in clock ticks since boot: with pid it is an identity."""

    pid: int
    parent: int
    session: int
    is_zombie: bool
    """Whether nothing of it runs any more; not so where its main thread alone has ended."""
    start: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid} {self.name}"


def read_process(pid: int) -> Process | None:
    """The process of that pid, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    head, _, tail = stat.rpartition(")")  # a name may hold anything, parentheses too
    fields = tail.split()
    name = head.partition("(")[2]
    is_zombie = fields[0] in "ZX" and int(fields[17]) < 2
    return Process(pid, int(fields[1]), int(fields[3]), is_zombie, int(fields[19]), name)


def snapshot() -> dict[int, Process]:
    """All processes that are alive now, by pid."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    found = (read_process(pid) for pid in pids)
    return {process.pid: process for process in found if process and not process.is_zombie}


def children(pid: int) -> list[int]:
    """The direct children of a single-threaded process, zombies included."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [process.pid for process in snapshot().values() if process.parent == pid]


def descendants(table: dict[int, Process], roots: Iterable[int]) -> dict[int, Process]:
    """The living processes among ``roots`` and all that descend from them."""
    offspring: dict[int, list[int]] = {}
    for process in table.values():
        offspring.setdefault(process.parent, []).append(process.pid)
    found: dict[int, Process] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found and pid in table:
            found[pid] = table[pid]
        waiting.extend(child for child in offspring.get(pid, ()) if child not in found)
    return found


def task_of(pid: int) -> str | None:
    """The task that a process carries the mark of; None where it has none, or has cleared it."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return None
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == MARK.encode():
            return value.decode("utf-8", "replace")
    return None


def marked(table: dict[int, Process], task_id: str) -> dict[int, Process]:
    """The processes that carry the mark of a task."""
    return {pid: process for pid, process in table.items() if task_of(pid) == task_id}


@cache
def boot_id() -> str:
    """Names this boot of the machine: pids and start times of another one mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
