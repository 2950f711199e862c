"""The keeper's loop: commands of engines come in over the socket, what became of them goes out.

An engine sends JSON lines: ``launch`` (the fields of ``Launch``), ``watch`` (task_id, directory, timeout),
``end`` (task_id, cause, grace). It gets JSON lines back about the tasks that it launched or watches:
``{task_id, state}`` with state ``queued``, ``running``, ``unknown``, or ``ended`` with ``exit`` as in
``exit.json``.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from mahavishnu_core.keeper import kept as life
from mahavishnu_core.keeper.cgroup import ControlGroups, remove
from mahavishnu_core.keeper.family import Process, children, snapshot
from mahavishnu_core.keeper.files import publish
from mahavishnu_core.keeper.kinship import family_of, ownerless
from mahavishnu_core.keeper.link import Link
from mahavishnu_core.keeper.spawn import Launch

if TYPE_CHECKING:
    from mahavishnu_core.keeper.kept import Kept

TICK = 0.05
"""Seconds between looks at a family that is being ended."""
FIRST_CALL = 10.0
"""Seconds to wait for the engine that started us."""
MOST_QUEUED = 10_000
"""Commands that may wait for a slot, each in some 7 KB of our memory."""
_SCARCE = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""No process, memory or open file is to be had now."""
SPARE_FILES = 128
"""Files that may be open besides connections: a watch on each command of a killed keeper, mostly."""


class Server:
    """All that the keeper holds. Nothing in it may not be lost: files and /proc tell the next one."""

    def __init__(self, listener: socket.socket, wakeup: int, groups: ControlGroups | None) -> None:
        self._listener = listener
        self._groups = groups
        self._wakeup = wakeup
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(wakeup, select.POLLIN)
        self._links: dict[int, Link] = {}
        self._queue: deque[tuple[Launch, Link]] = deque()
        self._tasks: dict[str, Kept] = {}
        self._leaders: dict[int, Kept] = {}
        self._pidfds: dict[int, Kept] = {}
        self._watchers: dict[str, set[Link]] = {}
        self._unwritten: dict[str, dict[str, object]] = {}
        """Files that could not be written yet, by path: a full disk is tried again."""
        self._is_stopping = False

    def run(self) -> None:
        """Serve until there is nothing left to keep. Whoever started us may take a moment to call."""
        self._adopt()
        self._has_caller(FIRST_CALL)
        while self._has_work():
            self._poll.modify(self._listener, select.POLLIN if self._has_room() else 0)
            for fd, _ in self._poll.poll(self._patience()):
                self._attend(fd)
            self._reap()
            self._step()
            self._start_queued()
            self._flush()

    def _adopt(self) -> None:
        """Take up what a killed keeper left running: it has its slot, whichever engine comes first."""
        for task_id, directory, timeout in life.left_running(os.getcwd()):
            self._find_again(task_id, directory, timeout)

    def stop(self) -> None:
        """End everything: the machine goes down, or somebody wants the keeper gone."""
        self._is_stopping = True

    # --- waiting

    def _has_work(self) -> bool:
        if self._tasks or self._unwritten:
            return True
        return not self._is_stopping and bool(self._links or self._queue or self._has_caller(0))

    def _has_caller(self, seconds: float) -> bool:
        return bool(select.select([self._listener], [], [], seconds)[0])

    def _has_room(self) -> bool:
        """Whether one more engine leaves enough files to open for all that the commands need."""
        return len(self._links) < max(1, os.sysconf("SC_OPEN_MAX") - SPARE_FILES)

    def _patience(self) -> int:
        """Milliseconds until something is due by the clock."""
        now = time.monotonic()
        if self._unwritten or any(task.left_at or task.kill_at for task in self._tasks.values()):
            return int(TICK * 1000)
        due = min((task.due_at for task in self._tasks.values()), default=now + 60)
        return int(max(0, min(60_000, (due - now) * 1000 + 1)))

    # --- engines

    def _attend(self, fd: int) -> None:
        if fd == self._listener.fileno():
            self._accept()
        elif fd == self._wakeup:
            os.read(fd, 4096)
        elif fd in self._pidfds:
            self._lose(fd)
        elif fd in self._links:
            self._listen_to(self._links[fd])

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        self._links[sock.fileno()] = Link(sock)
        self._poll.register(sock, select.POLLIN)

    def _listen_to(self, link: Link) -> None:
        obey = {"launch": self._on_launch, "watch": self._on_watch, "end": self._on_end}
        try:
            messages = link.receive()
            for message in messages or ():
                obey[str(message.pop("op"))](link, message)
        except Exception:  # noqa: BLE001  # whatever somebody sends, the commands of all others go on
            messages = None
        if messages is None:
            self._hang_up(link)

    def _hang_up(self, link: Link) -> None:
        fd = link.sock.fileno()
        self._poll.unregister(fd)
        del self._links[fd]
        link.sock.close()
        for watchers in self._watchers.values():
            watchers.discard(link)
        for item in [item for item in self._queue if item[1] is link and not item[0].detached]:
            self._queue.remove(item)
            self._dismiss(item[0].task_id, "unknown")

    def _on_launch(self, link: Link, message: dict[str, object]) -> None:
        launch = Launch(**message)  # type: ignore[arg-type]  # our own engine wrote it
        launch = launch._replace(limit=int(launch.limit), timeout=_seconds(launch.timeout))
        self._watchers.setdefault(launch.task_id, set()).add(link)
        if life.has_ended(launch.directory):  # another engine ended it before it began
            record = life.read_exit(launch.directory) or life.unseen_exit(cause="cancelled")
            self._dismiss(launch.task_id, "ended", exit=record)
            return
        if len(self._queue) >= MOST_QUEUED and not launch.slotless:
            reason = f"not begun: {MOST_QUEUED} commands wait for a slot already, and that is the most"
            self._record_exit(launch.task_id, launch.directory, life.unseen_exit(error=reason))
            return
        (self._queue.appendleft if launch.slotless else self._queue.append)((launch, link))
        if launch.detached:
            self._tell(launch.task_id, "queued")  # its engine waits for this before it leaves

    def _on_watch(self, link: Link, message: dict[str, object]) -> None:
        task_id, directory = str(message["task_id"]), str(message["directory"])
        self._watchers.setdefault(task_id, set()).add(link)
        if task_id in self._tasks:
            self._tell_running(self._tasks[task_id])
        elif any(launch.task_id == task_id for launch, _ in self._queue):
            self._tell(task_id, "queued")
        else:
            self._find_again(task_id, directory, _seconds(message["timeout"]))

    def _find_again(self, task_id: str, directory: str, timeout: float | None) -> None:
        try:
            self._look_for(task_id, directory, timeout)
        except Exception as error:  # noqa: BLE001  # what is wrong with one command harms no other
            print(f"{task_id} cannot be found again: {error!r}", file=sys.stderr)  # into keeper.log
            reason = f"it cannot be found again, see keeper.log: {_explain(error)}"
            self._dismiss(task_id, "ended", exit=life.unseen_exit(error=reason))

    def _look_for(self, task_id: str, directory: str, timeout: float | None) -> None:
        record = self._unwritten.get(f"{directory}/exit.json") or life.read_exit(directory)
        if record is not None:
            self._dismiss(task_id, "ended", exit=record)
        elif found := life.find_again(task_id, directory, timeout, time.monotonic()):
            self._keep(found)
        elif life.was_launched(directory):
            self._record_exit(task_id, directory, life.lost_exit(directory))
        else:
            self._dismiss(task_id, "unknown")

    def _on_end(self, link: Link, message: dict[str, object]) -> None:
        task_id, cause = str(message["task_id"]), str(message["cause"])
        self._reap()  # what has ended by itself just now is not ended by anybody
        if task := self._tasks.get(task_id):
            task.ask_to_end(time.monotonic(), cause, float(str(message["grace"])))
        for item in [item for item in self._queue if item[0].task_id == task_id]:
            self._queue.remove(item)
            self._record_exit(task_id, item[0].directory, life.unseen_exit(cause=cause))

    def _tell(self, task_id: str, state: str, **more: object) -> None:
        for link in self._watchers.get(task_id, ()):
            link.post({"task_id": task_id, "state": state, **more})

    def _tell_running(self, task: Kept) -> None:
        self._tell(task.task_id, "running", quiet=round(task.output.quiet_for(time.monotonic()), 3))

    def _dismiss(self, task_id: str, state: str, **more: object) -> None:
        """Say the last word about a task."""
        self._tell(task_id, state, **more)
        self._watchers.pop(task_id, None)

    def _flush(self) -> None:
        for link in list(self._links.values()):
            if not link.flush():
                self._hang_up(link)
            else:
                events = select.POLLIN | select.POLLOUT if link.outbox else select.POLLIN
                self._poll.modify(link.sock, events)

    # --- commands

    def _start_queued(self) -> None:
        while self._queue and self._has_slot(self._queue[0][0]):
            launch, link = self._queue.popleft()
            try:
                task = life.start(launch, time.monotonic(), self._groups)
            except Exception as error:  # noqa: BLE001  # what is wrong with one command harms no other
                if self._tasks and getattr(error, "errno", None) in _SCARCE:
                    self._queue.appendleft((launch, link))  # until one of those that run has ended
                    return
                reason = _explain(error)
                self._record_exit(launch.task_id, launch.directory, life.unseen_exit(error=reason))
            else:
                self._write(f"{launch.directory}/launch.json", task.launch_record())
                self._keep(task)

    def _has_slot(self, launch: Launch) -> bool:
        if launch.slotless:
            return True
        return sum(not task.slotless for task in self._tasks.values()) < launch.limit

    def _keep(self, task: Kept) -> None:
        self._tasks[task.task_id] = task
        if task.is_child:
            self._leaders[task.process.pid] = task
        elif task.left_at is None:
            self._watch_pid(task)
        self._tell_running(task)

    def _watch_pid(self, task: Kept) -> None:
        try:
            fd = os.pidfd_open(task.process.pid)
        except ProcessLookupError:
            task.has_left(time.monotonic(), None)
        else:
            self._pidfds[fd] = task
            self._poll.register(fd, select.POLLIN)

    def _lose(self, fd: int) -> None:
        """A command that is not our child has ended: how, only its parent was told."""
        self._pidfds.pop(fd).has_left(time.monotonic(), None)
        self._poll.unregister(fd)
        os.close(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if task := self._leaders.pop(pid, None):
                task.has_left(time.monotonic(), status)

    def _step(self) -> None:
        """Take every command that has something due one step further."""
        now = time.monotonic()
        if self._is_stopping:
            self._end_all(now)
        self._look_at_outputs(now)
        due = [task for task in self._tasks.values() if task.left_at or task.kill_at or now >= task.deadline]
        orphans = self._orphans() if due else []
        only_gone = not orphans and all(task.is_child and task.left_at for task in due)
        table = {} if only_gone else snapshot()
        for task in due:
            family = {} if only_gone else family_of(task, self._tasks, table, orphans)
            if task.next_step(now, family):
                self._finish(task, now, family)
        life.send(signal.SIGKILL, ownerless(self._tasks, table, orphans))
        for path, record in list(self._unwritten.items()):
            self._write(path, record)

    def _look_at_outputs(self, now: float) -> None:
        for task in self._tasks.values():
            if now >= task.output.look_at and task.left_at is None and task.kill_at is None:
                if task.needs_result:
                    task.room.keep_ahead()
                family = partial(self._family, task)
                if cause := task.output.look(now, task.process.pid, family):
                    task.ask_to_end(now, cause, life.TERM_GRACE)

    def _family(self, task: Kept) -> dict[int, Process]:
        return family_of(task, self._tasks, snapshot(), self._orphans())

    def _orphans(self) -> list[int]:
        """Our children that are no command's own process: they came back to us."""
        return [pid for pid in children(os.getpid()) if pid not in self._leaders]

    def _end_all(self, now: float) -> None:
        for task in self._tasks.values():
            if task.kill_at is None:
                task.ask_to_end(now, "cancelled", life.TERM_GRACE)
        while self._queue:
            launch, _ = self._queue.popleft()
            self._record_exit(launch.task_id, launch.directory, life.unseen_exit(cause="cancelled"))

    def _finish(self, task: Kept, now: float, family: dict[int, Process]) -> None:
        del self._tasks[task.task_id]
        self._leaders.pop(task.process.pid, None)
        if task.group:
            remove(task.group)
        record = task.exit_record(now, family.values())
        if not family:
            task.room.give_back()
        self._record_exit(task.task_id, task.directory, record)

    def _record_exit(self, task_id: str, directory: str, record: dict[str, object]) -> None:
        self._write(f"{directory}/exit.json", record)
        self._dismiss(task_id, "ended", exit=record)

    def _write(self, path: str, record: dict[str, object]) -> None:
        try:
            publish(path, record)
        except (FileNotFoundError, NotADirectoryError):  # its directory was removed: nobody wants to know
            self._unwritten.pop(path, None)
        except OSError:
            self._unwritten[path] = record
        else:
            self._unwritten.pop(path, None)


def _seconds(value: object) -> float | None:
    return None if value is None else float(str(value))


def _explain(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    return f"it cannot be started: {error}"
