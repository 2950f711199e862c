"""The state directory: workers and tasks as files. It is the truth; engines only read and add to it.

Whatever appears here appears whole (written under a temporary name, then renamed or linked), and what says
how something ended is written once. ``open/`` holds one empty file for every task with something left to
do: those are all that an engine has to look at when it starts.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.errors import StateDirError, UnknownTask, UnknownWorker, WorkerBusy
from mahavishnu_core.keeper.family import boot_id, read_process
from mahavishnu_core.models import JSON, Exit, Task, Worker, WorkerResult, WorkerStatus, WorkerType, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def state_dir_path(environ: Mapping[str, str]) -> Path:
    """``$MAHAVISHNU_STATE_DIR``, else the platform's directory for state."""
    if given := environ.get("MAHAVISHNU_STATE_DIR"):
        return Path(given).absolute()
    from platformdirs import user_state_path

    return user_state_path("mahavishnu")


@attrs.frozen
class StateDir:
    """Reads and writes one state directory."""

    root: Path

    # --- the directory

    def prepare(self) -> None:
        """Make the directory, for its owner alone. Raises StateDirError when it cannot be written."""
        try:
            for path in (self.root, self._workers, self._open):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            if not os.access(self._open, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise StateDirError(
                f"cannot write the state directory {str(self.root)!r} ({error.strerror}): "
                "make it writable, or name another one in MAHAVISHNU_STATE_DIR"
            ) from error

    @property
    def _workers(self) -> Path:
        return self.root / "workers"

    @property
    def _open(self) -> Path:
        return self.root / "open"

    # --- workers

    def new_worker_id(self) -> str:
        """Claim an id: eight letters and digits, a letter first."""
        while True:
            first = secrets.choice(_ALPHABET[10:])
            worker_id = first + "".join(secrets.choice(_ALPHABET) for _ in range(7))
            with suppress(FileExistsError):
                (self._workers / worker_id).mkdir(mode=0o700)
                return worker_id

    def add_worker(self, worker: Worker) -> None:
        directory = self._workers / worker.worker_id
        (directory / "tasks").mkdir(mode=0o700)
        _write(directory / "worker.json", _worker_to_json(worker))

    def forget_worker_id(self, worker_id: str) -> None:
        """Give an id back whose worker could not be made."""
        rmtree(self._workers / worker_id)

    def worker(self, worker_id: str) -> Worker:
        """Raises UnknownWorker."""
        try:
            return _worker_from_json(_read(self._workers / _one_name(worker_id) / "worker.json"))
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownWorker(
                f"there is no worker {worker_id!r}: list them with 'mahavishnu workers list --all'"
            ) from None

    def workers(self, *, with_closed: bool = False) -> list[Worker]:
        """The workers, oldest first."""
        found = []
        for worker_id in _names(self._workers):
            if with_closed or not self.is_closed(worker_id):
                with suppress(UnknownWorker):  # it is being made right now
                    found.append(self.worker(worker_id))
        return sorted(found, key=lambda worker: worker.created)

    def close_worker(self, worker_id: str) -> None:
        _touch(self._workers / worker_id / "closed")

    def is_closed(self, worker_id: str) -> bool:
        return (self._workers / worker_id / "closed").exists()

    # --- tasks

    def add_task(self, worker: Worker, prompt: str, timeout_seconds: float) -> Task:
        """Write a task down, whole and at once. Raises WorkerBusy while the last one has not ended."""
        last = self.last_task(worker.worker_id)
        result = self.result(last) if last else None
        if last is not None and result is None:
            raise WorkerBusy(
                f"worker {worker.worker_id!r} is busy with task {last.task_id!r}: wait for it with "
                f"'mahavishnu workers monitor {worker.worker_id}', or end it with 'mahavishnu workers close'"
            )
        session = _conversation(last, result) if last and result else None
        task_id = f"{worker.worker_id}.{_number(last.task_id) + 1 if last else 1}"
        task = Task(
            task_id=task_id,
            worker_id=worker.worker_id,
            prompt=prompt,
            timeout_seconds=timeout_seconds,
            session_id=session or str(uuid.uuid4()),
            resume=session is not None,
            created=utc_now(),
            directory=self._tasks(worker.worker_id) / task_id,
        )
        self._publish(task)
        return task

    def _publish(self, task: Task) -> None:
        _touch(self._open / task.task_id)
        made = task.directory.with_name(f".{secrets.token_hex(6)}")
        for directory in (made, made / "stored"):
            directory.mkdir(mode=0o700)
        with open(made / "task.json", "x", opener=_private) as file:
            file.write(json.dumps(_task_to_json(task)))
        try:
            made.rename(task.directory)
        except OSError:  # another engine was faster
            rmtree(made)
            raise WorkerBusy(f"worker {task.worker_id!r} is busy with task {task.task_id!r}") from None

    def task(self, task_id: str) -> Task:
        """Raises UnknownTask."""
        directory = self._tasks(_one_name(task_id).rpartition(".")[0]) / task_id
        try:
            return _task_from_json(_read(directory / "task.json"), directory)
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownTask(
                f"there is no task {task_id!r}: list the results with 'mahavishnu workers results'"
            ) from None

    def tasks(self, worker_id: str) -> list[Task]:
        """The tasks of a worker in the order in which they were given."""
        return [self.task(task_id) for task_id in sorted(_names(self._tasks(worker_id)), key=_number)]

    def last_task(self, worker_id: str) -> Task | None:
        names = _names(self._tasks(worker_id))
        return self.task(max(names, key=_number)) if names else None

    def open_tasks(self) -> Iterator[Task]:
        """The tasks that have something left to do: to be run, settled or stored."""
        for task_id in _names(self._open):
            with suppress(UnknownTask):  # an engine claimed the number and is writing, or died
                yield self.task(task_id)

    def _tasks(self, worker_id: str) -> Path:
        return self._workers / worker_id / "tasks"

    def write_stdin(self, task: Task, text: str) -> None:
        """Keep what a command is to read; unpaired surrogates are bytes that were no UTF-8."""
        with open(task.directory / "stdin", "xb", opener=_private) as file:
            file.write(text.encode("utf-8", "surrogateescape"))

    # --- how a task stands

    def status(self, task: Task) -> WorkerStatus:
        if (result := self.result(task)) is not None:
            return result.status
        return WorkerStatus.RUNNING if self.was_launched(task) else WorkerStatus.PENDING

    def was_launched(self, task: Task) -> bool:
        return (task.directory / "launch.json").exists()

    def launched_at(self, task: Task) -> str | None:
        """When the command of a task began, ISO 8601; None before that."""
        try:
            return str(_read(task.directory / "launch.json")["started"])
        except FileNotFoundError:
            return None

    def owner_lives(self, task: Task) -> bool:
        """Whether the engine that was given the task is still there to run it."""
        owner = cast("dict[str, JSON]", _read(task.directory / "task.json")["engine"])
        process = read_process(cast("int", owner["pid"]))
        return owner["boot_id"] == boot_id() and process is not None and process.start == owner["start_time"]

    def exit(self, task: Task) -> Exit | None:
        try:
            return exit_from_json(_read(task.directory / "exit.json"))
        except FileNotFoundError:
            return None

    def result(self, task: Task) -> WorkerResult | None:
        try:
            return WorkerResult.from_dict(_read(task.directory / "result.json"))
        except FileNotFoundError:
            return None

    def settle(self, task: Task, result: WorkerResult) -> WorkerResult:
        """Write the result down, unless there is one: the first stands, and is returned."""
        final = task.directory / "result.json"
        temporary = final.with_name(f"result.json.{secrets.token_hex(6)}")
        with open(temporary, "x", opener=_private) as file:
            file.write(json.dumps(result.to_dict()))
        try:
            os.link(temporary, final)
        except FileExistsError:
            return WorkerResult.from_dict(_read(final))
        finally:
            temporary.unlink()
        return result

    # --- what is stored where

    def is_stored(self, task: Task, storage: str) -> bool:
        return (task.directory / "stored" / storage).exists()

    def mark_stored(self, task: Task, storage: str) -> None:
        _touch(task.directory / "stored" / storage)

    def mark_done(self, task: Task) -> None:
        """Nothing is left to do for a task."""
        (self._open / task.task_id).unlink(missing_ok=True)


def _conversation(last: Task, result: WorkerResult) -> str | None:
    """The vendor's id of the conversation that the next task goes on with, None to begin a new one."""
    if result.metadata.get("reason") == "session_lost":
        return None
    seen = result.metadata.get("session_id")
    return str(seen) if seen else last.session_id if last.resume else None


def exit_from_json(data: Mapping[str, JSON]) -> Exit:
    known = {field.name for field in attrs.fields(Exit)}
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Exit(**{name: value for name, value in fields.items() if name in known})  # type: ignore[arg-type]


def _worker_to_json(worker: Worker) -> dict[str, JSON]:
    record: dict[str, JSON] = attrs.asdict(worker, filter=lambda field, _: field.name != "env")
    return record | {"workspace": str(worker.workspace)}


def _worker_from_json(data: dict[str, JSON]) -> Worker:
    recipe = cast("dict[str, JSON]", data["type"])
    lists = {name: tuple(value) for name, value in recipe.items() if isinstance(value, list)}
    fields = {**data, "type": WorkerType(**{**recipe, **lists}), "workspace": Path(str(data["workspace"]))}  # type: ignore[arg-type]
    return Worker(**fields)  # type: ignore[arg-type]  # the fields are those that were written


def _task_to_json(task: Task) -> dict[str, JSON]:
    record: dict[str, JSON] = attrs.asdict(task, filter=lambda field, _: field.name != "directory")
    process = read_process(os.getpid())
    start = process.start if process else 0
    return record | {"engine": {"pid": os.getpid(), "start_time": start, "boot_id": boot_id()}}


def _task_from_json(data: dict[str, JSON], directory: Path) -> Task:
    fields = {name: value for name, value in data.items() if name != "engine"}
    return Task(**fields, directory=directory)  # type: ignore[arg-type]  # the fields are those written


def _one_name(name: str) -> str:
    """An id as given by a user, safe as the name of one entry of a directory."""
    return name if name and "/" not in name and "\0" not in name and not name.startswith(".") else "-"


def _number(task_id: str) -> int:
    return int(task_id.rpartition(".")[2])


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
    except FileNotFoundError:
        return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))


def _write(path: Path, record: Mapping[str, JSON]) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    with open(temporary, "x", opener=_private) as file:
        file.write(json.dumps(record))  # dump() would go through Python item by item
    temporary.rename(path)


def _read(path: Path) -> dict[str, JSON]:
    return cast("dict[str, JSON]", json.loads(path.read_bytes()))
