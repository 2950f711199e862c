"""Whose a process is: what belongs to a task, among descendants and among orphans that came back to us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.keeper.cgroup import members
from mahavishnu_core.keeper.family import Process, descendants, marked, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mahavishnu_core.keeper.kept import Kept


def family_of(
    task: Kept, tasks: Mapping[str, Kept], table: dict[int, Process], orphans: Iterable[int]
) -> dict[int, Process]:
    """Who belongs to a task: its command, its control group, descendants, and orphans that are its own."""
    roots = [task.process.pid] if task.left_at is None else []
    roots += [pid for pid in orphans if pid in table and _belongs(table[pid], task, tasks)]
    if not task.is_child:
        roots += marked(table, task.task_id)
    if task.group:
        roots += members(task.group)
    return descendants(table, roots)


def ownerless(tasks: Mapping[str, Kept], table: dict[int, Process], orphans: Iterable[int]) -> list[int]:
    """The orphans that no task can own any more: their own ended while others were suspected."""
    suspicious = [
        orphan
        for orphan in (table[pid] for pid in orphans if pid in table)
        if task_of(orphan.pid) not in tasks and not _suspects(orphan, tasks)
    ]
    if not suspicious:  # as nearly always: the groups of all commands need not be read
        return []
    grouped = {pid for task in tasks.values() if task.group for pid in members(task.group)}
    return [orphan.pid for orphan in suspicious if orphan.pid not in grouped]


def _belongs(orphan: Process, task: Kept, tasks: Mapping[str, Kept]) -> bool:
    """Whether an orphan comes from a task: by session, by its mark, or as no other task is left."""
    if orphan.session == task.process.pid:
        return True
    owner = task_of(orphan.pid)
    if owner is not None and owner in tasks:
        return owner == task.task_id
    return _suspects(orphan, tasks) == [task]


def _suspects(orphan: Process, tasks: Mapping[str, Kept]) -> list[Kept]:
    """The tasks that an orphan may come from: not those whose control group would show it."""
    return [task for task in tasks.values() if not task.group and task.process.start <= orphan.start]
