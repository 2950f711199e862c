"""The state directory: workers and tasks as files. It is the truth; engines only read and add to it.

Whatever appears here appears whole (written under a temporary name, then renamed or linked), and what says
how something ended is written once. ``open/`` holds one empty file for every task with something left to
do: those are all that an engine has to look at when it starts.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import (
    AlreadyGiven,
    StateDirError,
    UnknownTask,
    UnknownWorker,
    UsageError,
    WorkerBusy,
)
from mahavishnu_core.keeper.files import create, is_directory, is_file, names, publish, read_record, touch
from mahavishnu_core.models import Exit, Task, Worker, WorkerResult, WorkerStatus, utc_now
from mahavishnu_core.records import (
    Damaged,
    engine_lives,
    exit_from_json,
    result_from_json,
    task_from_json,
    task_to_json,
    this_engine,
    worker_from_json,
    worker_to_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}")
CLAIM = "claim.json"
"""Of a worker that is being made: the engine that makes it."""


def state_dir_path(environ: Mapping[str, str]) -> Path:
    """``$MAHAVISHNU_STATE_DIR``, else the platform's directory for state. Raises StateDirError."""
    if given := environ.get("MAHAVISHNU_STATE_DIR"):
        return Path(given).absolute()
    from platformdirs import user_state_path

    with suppress(RuntimeError):
        path = user_state_path("mahavishnu")
        if path.is_absolute():  # an older platformdirs leaves a '~' that nobody can expand
            return path
    raise StateDirError(
        "there is no home directory to keep the state in: set HOME, or name one in MAHAVISHNU_STATE_DIR"
    )


@attrs.frozen
class StateDir:
    """Reads and writes one state directory."""

    root: Path

    # --- the directory

    def prepare(self) -> None:
        """Make the directory, for its owner alone. Raises StateDirError when it cannot be written."""
        try:
            for path in (self.root, self.root / "workers", self.root / "open"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.root.stat().st_mode & stat.S_ISVTX:  # /tmp itself is everybody's
                self.root.chmod(0o700)
            if not os.access(f"{self.root}/open", os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise StateDirError(
                f"cannot write the state directory {str(self.root)!r} ({error.strerror}): "
                "make it writable, or name another one in MAHAVISHNU_STATE_DIR"
            ) from error

    def _worker_dir(self, worker_id: str) -> str:
        return f"{self.root}/workers/{_one_name(worker_id)}"

    def _tasks_dir(self, worker_id: str) -> str:
        return f"{self.root}/workers/{_one_name(worker_id)}/tasks"

    # --- workers

    def new_worker_id(self) -> str:
        """Claim an id: eight letters and digits, a letter first."""
        import secrets

        while True:
            first = secrets.choice(_ALPHABET[10:])
            worker_id = first + "".join(secrets.choice(_ALPHABET) for _ in range(7))
            with suppress(FileExistsError):
                os.mkdir(self._worker_dir(worker_id), 0o700)
                claim = {"engine": dict(this_engine(os.getpid()))}
                create(f"{self._worker_dir(worker_id)}/{CLAIM}", json.dumps(claim).encode())
                return worker_id

    def add_worker(self, worker: Worker) -> None:
        os.mkdir(self._tasks_dir(worker.worker_id), 0o700)
        publish(f"{self._worker_dir(worker.worker_id)}/worker.json", worker_to_json(worker))
        os.unlink(f"{self._worker_dir(worker.worker_id)}/{CLAIM}")

    def forget_worker_id(self, worker_id: str) -> None:
        """Give an id back whose worker could not be made."""
        from shutil import rmtree

        rmtree(self._worker_dir(worker_id), ignore_errors=True)

    def worker(self, worker_id: str) -> Worker:
        """Raises UnknownWorker."""
        path = f"{self._worker_dir(worker_id)}/worker.json"
        record = read_record(path)
        try:
            if record is not None:
                return worker_from_json(record)
        except Damaged:
            pass
        raise UnknownWorker(self._why_no_worker(worker_id, path))

    def _why_no_worker(self, worker_id: str, path: str) -> str:
        if os.path.lexists(path):
            return f"what is known of worker {worker_id!r} cannot be read: {path!r} is damaged"
        owner = worker_id.partition(".")[0]
        if os.path.exists(f"{self._tasks_dir(owner)}/{_one_name(worker_id)}"):
            return f"there is no worker {worker_id!r}: that is a task of worker {owner!r}"
        return f"there is no worker {worker_id!r}: list them with 'mahavishnu workers list --all'"

    def worker_for_tasks(self, worker_id: str) -> Worker:
        """As ``worker``. Raises UsageError for a standing one: it takes no tasks."""
        worker = self.worker(worker_id)
        if worker.type.standing:
            raise UsageError(
                f"worker {worker_id!r} of type {worker.type.name!r} takes no tasks: see what it does with "
                f"'mahavishnu workers logs {worker_id}', end it with 'mahavishnu workers close {worker_id}'"
            )
        return worker

    def workers(self, *, with_closed: bool = False) -> list[Worker]:
        """The workers, oldest first."""
        found = []
        for worker_id in names(f"{self.root}/workers"):
            if with_closed or not self.is_closed(worker_id):
                with suppress(UnknownWorker):  # it is being made right now
                    found.append(self.worker(worker_id))
        return sorted(found, key=lambda worker: worker.created)

    def passing_ids(self, *, with_closed: bool = False) -> list[str]:
        """The workers that come to an end by themselves: all but standing ones, oldest first."""
        workers = self.workers(with_closed=with_closed)
        return [worker.worker_id for worker in workers if not worker.type.standing]

    def close_worker(self, worker_id: str) -> None:
        touch(f"{self._worker_dir(worker_id)}/closed")

    def is_closed(self, worker_id: str) -> bool:
        return os.path.exists(f"{self._worker_dir(worker_id)}/closed")

    # --- tasks

    def add_task(
        self, worker: Worker, prompt: str, timeout_seconds: float | None, idempotency_key: str | None = None
    ) -> Task:
        """Write a task down, whole and at once.

        Raises WorkerBusy while the last one has not ended, and AlreadyGiven for a key that was used before.
        """
        # first of all: whoever is faster, from here on, takes the number that we would
        given = self.task_ids(worker.worker_id)
        number = _number(given[-1]) + 1 if given else 1
        last = self._latest(given)
        self.refuse_known(worker.worker_id, idempotency_key)
        result = self.result(last) if last else None
        if last is not None and result is None:
            raise WorkerBusy(
                f"worker {worker.worker_id!r} is busy with task {last.task_id!r}: wait for it with "
                f"'mahavishnu workers monitor {worker.worker_id}', or end it with 'mahavishnu workers close'"
            )
        session = _conversation(last, result) if last and result else None
        task_id = f"{worker.worker_id}.{number}"
        task = Task(
            task_id=task_id,
            worker_id=worker.worker_id,
            prompt=prompt,
            timeout_seconds=timeout_seconds,
            session_id=session or str(uuid.uuid4()),
            resume=session is not None,
            created=utc_now(),
            directory=Path(f"{self._tasks_dir(worker.worker_id)}/{task_id}"),
            idempotency_key=idempotency_key,
        )
        try:
            self._publish(task)
        except WorkerBusy:
            self.refuse_known(worker.worker_id, idempotency_key)
            raise
        return task

    def refuse_known(self, worker_id: str, idempotency_key: str | None) -> None:
        """Raises AlreadyGiven for a key that was used before with this worker."""
        if idempotency_key is not None:
            for task in self.tasks(worker_id):
                if task.idempotency_key == idempotency_key:
                    raise AlreadyGiven(task.task_id)

    def _publish(self, task: Task) -> None:
        touch(f"{self.root}/open/{task.task_id}")
        made = f"{self._tasks_dir(task.worker_id)}/.{os.urandom(6).hex()}"
        try:
            os.mkdir(made, 0o700)
            os.mkdir(f"{made}/stored", 0o700)
            create(f"{made}/task.json", json.dumps(task_to_json(task)).encode())
            os.rename(made, task.directory)
        except OSError as error:
            from shutil import rmtree

            rmtree(made, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # another engine was faster
            raise WorkerBusy(f"worker {task.worker_id!r} is busy with task {task.task_id!r}") from None

    def task(self, task_id: str) -> Task:
        """Raises UnknownTask."""
        worker_id = task_id.rpartition(".")[0]
        directory = f"{self._tasks_dir(worker_id)}/{_one_name(task_id)}"
        record = read_record(f"{directory}/task.json")
        try:
            if record is not None:
                return task_from_json(record, Path(directory))
        except Damaged:
            pass
        if os.path.lexists(f"{directory}/task.json"):
            raise UnknownTask(
                f"what is known of task {task_id!r} cannot be read: {directory + '/task.json'!r} is damaged"
            )
        raise UnknownTask(
            f"there is no task {task_id!r}: list the results with 'mahavishnu workers results --all'"
        )

    def tasks(self, worker_id: str) -> list[Task]:
        """The tasks of a worker in the order in which they were given; a damaged one is none."""
        return [*self._readable(self.task_ids(worker_id))]

    def last_task(self, worker_id: str) -> Task | None:
        return self._latest(self.task_ids(worker_id))

    def task_named(self, name: str) -> Task | None:
        """The task of that id, or the latest of that worker. Raises UnknownTask, UnknownWorker."""
        return self.task(name) if _is_task(name) else self.last_task(self.worker(name).worker_id)

    def _latest(self, task_ids: Sequence[str]) -> Task | None:
        return next(self._readable(reversed(task_ids)), None)

    def _readable(self, task_ids: Iterable[str]) -> Iterator[Task]:
        for task_id in task_ids:
            with suppress(UnknownTask):  # a power cut has emptied its file
                yield self.task(task_id)

    def task_ids(self, worker_id: str) -> list[str]:
        """The tasks that a worker's directory has, oldest first; what else somebody has put there is none."""
        form = re.compile(rf"{re.escape(worker_id)}\.[0-9]{{1,9}}")
        with suppress(NotADirectoryError):
            found = names(self._tasks_dir(worker_id))
            return sorted(filter(form.fullmatch, found), key=_number)
        return []

    def open_tasks(self) -> Iterator[Task]:
        """The tasks that have something left to do: to be run, settled or stored."""
        for task_id in sorted(names(f"{self.root}/open")):
            with suppress(UnknownTask):  # an engine claimed the number and is writing, or died
                yield self.task(task_id)

    def write_stdin(self, task: Task, text: str) -> None:
        """Keep what a command is to read; unpaired surrogates are bytes that were no UTF-8."""
        create(f"{task.directory}/stdin", text.encode("utf-8", "surrogateescape"))

    # --- how a task stands

    def status(self, task: Task) -> WorkerStatus:
        if (result := self.result(task)) is not None:
            return result.status
        return WorkerStatus.RUNNING if self._may_act(task) else WorkerStatus.PENDING

    def _may_act(self, task: Task) -> bool:
        """Whether the command is there: it gets its output before it begins, and ``launch.json`` after."""
        return self.was_launched(task) or is_file(f"{task.directory}/stdout.jsonl")

    def was_launched(self, task: Task) -> bool:
        """Whether it is written down what was started."""
        return os.path.exists(f"{task.directory}/launch.json")

    def launched_at(self, task: Task) -> str | None:
        """When the command of a task began, ISO 8601; None before that."""
        started = (read_record(f"{task.directory}/launch.json") or {}).get("started")
        return started if isinstance(started, str) else None

    def owner_lives(self, task: Task) -> bool:
        """Whether the engine that was given the task is still there to run it."""
        return engine_lives(read_record(f"{task.directory}/task.json") or {})

    def waits_elsewhere(self, task: Task) -> bool:
        """Whether the task waits for a slot in the engine that was given it: no place knows of it yet."""
        return self.result(task) is None and not self.was_launched(task) and self.owner_lives(task)

    def exit(self, task: Task) -> Exit | None:
        record = read_record(f"{task.directory}/exit.json")
        return None if record is None else exit_from_json(record)

    def result(self, task: Task) -> WorkerResult | None:
        record = read_record(f"{task.directory}/result.json")
        try:
            return None if record is None else result_from_json(record, task)
        except Damaged:
            return None

    def results(self, ids: Iterable[str] | None = None, *, all_tasks: bool = False) -> list[WorkerResult]:
        """The results of tasks, and of workers' latest tasks or all of them; each once.

        Without ids those of all workers but standing ones. Raises UnknownWorker, UnknownTask.
        """
        found: dict[str, Task] = {}
        for each in self.passing_ids(with_closed=True) if ids is None else ids:
            if all_tasks and not _is_task(each):
                found |= {task.task_id: task for task in self.tasks(self.worker(each).worker_id)}
            elif (task := self.task_named(each)) is not None:
                found[task.task_id] = task
        return [result for task in found.values() if (result := self.result(task)) is not None]

    def settle(self, task: Task, result: WorkerResult) -> WorkerResult:
        """Write the result down, unless there is one: the first stands, and is returned."""
        path = f"{task.directory}/result.json"
        try:
            publish(path, result.to_dict(), first_only=True)
        except FileExistsError:
            if (first := self.result(task)) is not None:
                return first
            publish(path, result.to_dict())  # in place of what a power cut has left
        return result

    # --- what is stored where

    def is_stored(self, task: Task, storage: str) -> bool:
        return os.path.exists(f"{task.directory}/stored/{storage}")

    def mark_stored(self, task: Task, storage: str) -> None:
        directory = f"{task.directory}/stored"
        if not is_directory(directory):  # a command has made something of it
            with suppress(FileNotFoundError):
                os.unlink(directory)
            os.mkdir(directory, 0o700)
        touch(f"{directory}/{storage}")

    def mark_done(self, task: Task) -> None:
        """Nothing is left to do for a task."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.root}/open/{task.task_id}")


def _conversation(last: Task, result: WorkerResult) -> str | None:
    """The vendor's id of the conversation that the next task goes on with, None to begin a new one."""
    if result.metadata.get("reason") == "session_lost":
        return None
    seen = result.metadata.get("session_id")
    return str(seen) if seen else last.session_id if last.resume else None


def _one_name(name: str) -> str:
    """An id as given by a user, safe as the name of one entry of a directory."""
    return name if _ID.fullmatch(name) else "-"


def _is_task(name: str) -> bool:
    """Whether it is the id of a task, ``k3f9a2b1.2``, and not of a worker."""
    return "." in name


def _number(task_id: str) -> int:
    return int(task_id.rpartition(".")[2])
