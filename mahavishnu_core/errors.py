"""What can go wrong in a way that the user can mend: one line each, with the exit status it ends in."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def leaves(error: BaseException) -> list[BaseException]:
    """What went wrong, without the groups that nurseries put round it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


class MahavishnuError(Exception):
    """Base of all errors that are printed as one line, without a traceback."""

    exit_status = 1


class UsageError(MahavishnuError):
    """The caller asked for something that cannot be: a wrong value, an unknown name."""

    exit_status = 2


class SettingsError(UsageError):
    """The settings are wrong; ``problems`` holds every fault found, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(one_line, problems))  # a path or a key may hold anything
        super().__init__("\n".join(self.problems))


class UnknownWorkerType(UsageError):
    """No plugin and no settings file offers a worker type of that name."""


class UnknownWorker(UsageError):
    """There is no worker of that id in the state directory."""


class UnknownTask(UsageError):
    """There is no task of that id in the state directory."""


class WorkerBusy(UsageError):
    """The worker has a task that has not ended yet."""


class AlreadyGiven(UsageError):
    """The worker was given a task with this idempotency key before; ``task_id`` is that one."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"this is task {task_id!r}, which was given before")
        self.task_id = task_id


class MissingError(MahavishnuError):
    """A program, daemon or plugin that was asked for is not there."""

    exit_status = 3


class PluginError(MissingError):
    """A plugin that is needed was not loaded, or failed when it was asked."""


class StateDirError(MahavishnuError):
    """The state directory cannot be written."""

    exit_status = 4


def not_kept(error: OSError) -> StateDirError:
    """What the state directory did not take, in one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StateDirError("the disk is full: make room, 'mahavishnu workers list' takes it up then")
    where = "" if error.filename is None else f": {error.filename!r}"
    return StateDirError(f"{error.strerror or error}{where}")


class StorageError(MahavishnuError):
    """A storage could not keep something."""

    exit_status = 4
