"""The life of one command: started, watched, ended with its whole family, its exit written down."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from mahavishnu_core.keeper import cgroup
from mahavishnu_core.keeper.family import Process, boot_id, marked, read_process, snapshot
from mahavishnu_core.keeper.files import read_record
from mahavishnu_core.keeper.output import Output
from mahavishnu_core.keeper.room import Room, give_back
from mahavishnu_core.keeper.spawn import Launch, spawn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mahavishnu_core.keeper.cgroup import ControlGroups

STRAY_DRAIN = 1.0
"""Seconds in which what outlives a command may still end by itself."""
STRAY_GRACE = 1.0
"""Seconds between TERM and KILL for those that did not."""
TERM_GRACE = 5.0
"""Seconds between TERM and KILL at the deadline."""
MOST_AFTER_TERM = 64 * 1024**2
"""Bytes that a command may still put out once it was asked to end: it says goodbye, or it floods the disk."""
FULL = 64 * 1024
"""Bytes: a disk on which fewer are left is full."""
GIVE_UP = 5.0
"""Seconds after the first KILL at which what still lives is reported instead of waited for."""
SHIM_PATIENCE = 15.0
"""Seconds that a shim has, after its QUIT, to end what it stands for and to report."""


class Kept:
    """A running command and where it stands on its way to its end. Times are of the monotonic clock."""

    def __init__(
        self,
        task_id: str,
        directory: str,
        process: Process,
        began: float,
        deadline: float,
        *,
        is_child: bool,
        group: str | None = None,
        shim: str = "",
        slotless: bool = False,
        idle: float | None = None,
        needs_result: bool = False,
        seen_from: float | None = None,
    ) -> None:
        self.task_id = task_id
        self.directory = directory
        self.process = process
        self.began = began
        self.deadline = deadline
        self.is_child = is_child
        """False for one that a killed keeper left behind: its exit status goes to somebody else."""
        self.group = group
        """The control group in which it was started, where there are such."""
        self.shim = shim
        """What the command stands for, if it is a shim: see ``docs/hooks/launch.md``."""
        self.slotless = slotless
        self.idle = idle
        self.needs_result = needs_result
        self.output = Output(
            directory, idle, began if seen_from is None else seen_from, needs_result=needs_result
        )
        self.room = Room(directory, may_be_held=not is_child)
        self.status: int | None = None
        self.left_at: float | None = None
        """When the command itself was gone, whatever it left running."""
        self.cause: str | None = None
        self.output_bytes: int | None = None
        """How much it had put out when it was asked to end: what comes later may be of our own making."""
        self.kill_at: float | None = None
        self.is_warned = False
        """Whether the family has had its TERM."""
        self.is_hastened = False
        """Whether a shim has had its QUIT: end at once what you stand for."""
        self.strays: list[str] = []

    @property
    def due_at(self) -> float:
        """When it is to be looked at by the clock."""
        return min(self.deadline, self.output.look_at)

    def has_left(self, now: float, status: int | None) -> None:
        """The command itself has ended; ``status`` as of waitpid, None where nobody could see it."""
        self.left_at, self.status = now, status
        if self.shim:  # its own family was not asked with it
            self.kill_at, self.is_warned = None, False

    def ask_to_end(self, now: float, cause: str, grace: float) -> None:
        """Begin the end, or hasten one that is under way. The first cause stands."""
        if self.cause is None and self.left_at is None:
            self.cause = cause
            self.output_bytes = self._put_out()
        kill_at = now + grace
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)

    def next_step(self, now: float, family: dict[int, Process]) -> bool:
        """Do what is due; True once the end is complete. ``family`` is who of it is alive now."""
        if self.left_at is not None and not family:
            return True
        self._check_limits(now)
        if self.kill_at is None:
            return False
        is_shim = bool(self.shim) and self.left_at is None
        if self.output_bytes is not None and self._put_out() > self.output_bytes + MOST_AFTER_TERM:
            self.kill_at = min(self.kill_at, now)
        if not self.is_warned:
            self.is_warned = True
            if self.left_at is not None:
                self.strays = [str(process) for process in family.values()]
            send(signal.SIGTERM, [self.process.pid] if is_shim else family)  # a shim ends its own itself
            send(signal.SIGCONT, family)
        if is_shim and now >= self.kill_at and not self.is_hastened:
            self.is_hastened = True
            send(signal.SIGQUIT, [self.process.pid])
        kill_at = self.kill_at + (SHIM_PATIENCE if is_shim else 0)
        if now >= kill_at:
            send(signal.SIGKILL, family)
            if self.group:
                cgroup.kill(self.group)
        return now >= kill_at + GIVE_UP

    def _check_limits(self, now: float) -> None:
        if self.left_at is None and self.cause is None and now >= self.deadline:
            self.ask_to_end(now, "wall", TERM_GRACE)
        if self.left_at is not None and self.kill_at is None and now >= self.left_at + STRAY_DRAIN:
            self.kill_at = now + STRAY_GRACE

    def _put_out(self) -> int:
        """Bytes on its standard output so far."""
        try:
            return os.lstat(f"{self.directory}/stdout.jsonl").st_size
        except OSError:
            return 0

    def launch_record(self) -> dict[str, object]:
        """What ``launch.json`` says: enough to know the command again when the keeper is lost."""
        return {
            "pid": self.process.pid,
            "start_time": self.process.start,
            "boot_id": boot_id(),
            "began": self.began,
            "deadline": None if self.deadline == math.inf else self.deadline,
            "group": self.group,
            "shim": self.shim,
            "slotless": self.slotless,
            "idle": self.idle,
            "needs_result": self.needs_result,
            "started": _utc_now(),
        }

    def exit_record(self, now: float, survivors: Iterable[Process]) -> dict[str, object]:
        """What ``exit.json`` says; the fields are those of ``mahavishnu_core.models.Exit``."""
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        return {
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "ended": _utc_now(),
            "duration_seconds": round(now - self.began, 6),
            "cause": self.cause,
            "output_bytes": self.output_bytes,
            "error": None,
            "strays": self.strays,
            "survivors": [str(process) for process in survivors],
            "warnings": ["disk_full"] if _is_disk_full(self.directory) else [],
            **(_reported(self.directory, self.shim) if self.shim else {}),
        }


def _is_disk_full(directory: str) -> bool:
    """Whether what a command has put out last may not have found room."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < FULL


def start(launch: Launch, now: float, groups: ControlGroups | None = None) -> Kept:
    """Start a command: own session, own control group, output to the task's files, a file as its input.

    Raises OSError when it cannot be started; then nothing is left of the attempt.
    """
    pid, group = spawn(launch, groups)
    process = read_process(pid)
    assert process is not None, "a child that nobody has waited for is in /proc"  # noqa: S101
    return Kept(
        launch.task_id,
        launch.directory,
        process,
        now,
        _deadline(now, launch.timeout),
        is_child=True,
        group=group,
        shim=launch.shim,
        slotless=launch.slotless,
        idle=launch.idle,
        needs_result=launch.needs_result,
    )


def find_again(task_id: str, directory: str, timeout: float | None, now: float) -> Kept | None:
    """What a killed keeper left running of a task, None if that is nothing.

    The command is known by pid, start time and boot; or by its mark, where the keeper died before it wrote
    them down. Where only descendants of it live, it has left.
    """
    record = _read_launch(directory)
    if record is not None and record.boot_id != boot_id():
        return None
    table, group = snapshot(), record.group if record else None
    grouped = cgroup.members(group) if group else []
    if os.getpid() in grouped:  # the command itself has started us: its group is no longer its alone
        group, grouped = None, []
    family = marked(table, task_id) | {pid: table[pid] for pid in grouped if pid in table}
    command = _command(record, table, family)
    if command is None and not family:
        return None
    began, deadline = (record.began, record.deadline) if record else (now, _deadline(now, timeout))
    kept = Kept(
        task_id,
        directory,
        command or min(family.values(), key=_age),
        began,
        math.inf if deadline is None else deadline,
        is_child=False,
        group=group,
        shim=record.shim if record else "",
        slotless=record.slotless if record else timeout is None,
        idle=record.idle if record else None,
        needs_result=record.needs_result if record else False,
        seen_from=now,
    )
    if command is None:
        kept.has_left(now, None)
    return kept


def left_running(state_dir: str) -> Iterator[tuple[str, str, float | None]]:
    """The commands that were started and whose end nobody has written: id, directory, timeout."""
    if not os.path.isdir(f"{state_dir}/open"):  # no task was ever given
        return
    for task_id in os.listdir(f"{state_dir}/open"):
        directory = f"{state_dir}/workers/{task_id.rpartition('.')[0]}/tasks/{task_id}"
        is_planted = os.path.islink(f"{directory}/stdout.jsonl")  # the launch is to come, and fails by it
        if was_launched(directory) and not is_planted and not has_ended(directory):
            task = read_record(f"{directory}/task.json")
            timeout = task.get("timeout_seconds") if task else None
            yield task_id, directory, timeout if isinstance(timeout, (int, float)) else None


def was_launched(directory: str) -> bool:
    """Whether a command was ever started: it opens its output before it becomes the program."""
    return os.path.lexists(f"{directory}/stdout.jsonl")


def has_ended(directory: str) -> bool:
    """Whether a task has an exit or a result already."""
    return any(read_record(f"{directory}/{name}.json") is not None for name in ("exit", "result"))


def read_exit(directory: str) -> dict[str, object] | None:
    """The exit that was written for a task, None while there is none."""
    return read_record(f"{directory}/exit.json")


def unseen_exit(error: str | None = None, cause: str | None = None) -> dict[str, object]:
    """The exit of a command whose end nobody saw, or that never began: ``error`` or ``cause`` says why."""
    return {"ended": _utc_now(), "error": error, "cause": cause}


def lost_exit(directory: str) -> dict[str, object]:
    """The exit of a command that is gone, and of which nobody saw the end."""
    give_back(directory)
    record = _read_launch(directory)
    return unseen_exit() | (_reported(directory, record.shim) if record and record.shim else {})


def _reported(directory: str, shim: str) -> dict[str, object]:
    """What a shim says of its command. Where it says nothing, the command may go on."""
    report = read_record(f"{directory}/shim.json")
    return {"exit_code": None, "signal": None, "survivors": [shim]} if report is None else report


def send(number: signal.Signals, family: Iterable[int]) -> None:
    for pid in family:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:  # a set-uid program: it is reported as a survivor
            continue


class _Launched(NamedTuple):
    """What ``launch.json`` says of a command of ours."""

    pid: int
    start_time: int
    boot_id: str
    began: float
    deadline: float | None
    group: str | None
    shim: str
    slotless: bool
    idle: float | None
    needs_result: bool


_NUMBER, _NO_NUMBER, _NO_TEXT = (int, float), (int, float, type(None)), (str, type(None))
_KINDS: tuple[type | tuple[type, ...], ...] = (
    *(int, int, str, _NUMBER, _NO_NUMBER, _NO_TEXT, str, bool),
    *(_NO_NUMBER, bool),
)
"""Of its fields."""
_LARGEST = 1 << 53
"""Of numbers that can be reckoned with as they are."""


def _read_launch(directory: str) -> _Launched | None:
    """None also where it says something else than we wrote: the command itself can write there."""
    record = read_record(f"{directory}/launch.json") or {}
    found = [record.get(name) for name in _Launched._fields]
    fits = all(isinstance(value, kinds) for value, kinds in zip(found, _KINDS, strict=True))
    if not fits or not all(0 <= value < _LARGEST for value in found if isinstance(value, (int, float))):
        return None
    return _Launched._make(found)


def _command(
    record: _Launched | None, table: dict[int, Process], family: dict[int, Process]
) -> Process | None:
    if record is None:
        leaders = (process for process in family.values() if process.pid == process.session)
        return min(leaders, key=_age, default=None)
    process = table.get(record.pid)
    return process if process is not None and process.start == record.start_time else None


def _deadline(now: float, timeout: float | None) -> float:
    return math.inf if timeout is None else now + timeout


def _age(process: Process) -> int:
    return process.start


def signal_name(number: int) -> str:
    """``SIGSEGV`` for 11; a number that has no name stays a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _utc_now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}+00:00"
