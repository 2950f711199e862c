"""Workers, tasks and exits as the JSON of their files, and back."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.keeper.family import boot_id, read_process
from mahavishnu_core.models import Exit, Task, Worker, WorkerType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.models import JSON

_EXIT_FIELDS = frozenset(field.name for field in attrs.fields(Exit))


def worker_to_json(worker: Worker) -> dict[str, JSON]:
    """Without the type's ``env``, which may hold secrets."""
    record: dict[str, JSON] = attrs.asdict(worker, filter=lambda field, _: field.name != "env")
    return record | {"workspace": str(worker.workspace)}


def worker_from_json(data: Mapping[str, JSON]) -> Worker:
    recipe = cast("dict[str, JSON]", data["type"])
    lists = {name: tuple(value) for name, value in recipe.items() if isinstance(value, list)}
    kind = WorkerType(**{**recipe, **lists})  # type: ignore[arg-type]  # the fields that were written
    workspace = Path(str(data["workspace"]))
    return Worker(**{**data, "type": kind, "workspace": workspace})  # type: ignore[arg-type]


def task_to_json(task: Task) -> dict[str, JSON]:
    """With the engine that was given the task: as long as that lives, the task is its to begin."""
    return {
        "task_id": task.task_id,
        "worker_id": task.worker_id,
        "prompt": task.prompt,
        "timeout_seconds": task.timeout_seconds,
        "session_id": task.session_id,
        "resume": task.resume,
        "created": task.created,
        "idempotency_key": task.idempotency_key,
        "engine": dict(this_engine(os.getpid())),
    }


def task_from_json(data: Mapping[str, JSON], directory: Path) -> Task:
    fields = {name: value for name, value in data.items() if name != "engine"}
    return Task(**fields, directory=directory)  # type: ignore[arg-type]  # the fields that were written


def engine_lives(record: Mapping[str, JSON]) -> bool:
    """Whether the engine that a task's record names is still there."""
    owner = cast("dict[str, JSON]", record["engine"])
    process = read_process(cast("int", owner["pid"]))
    return owner["boot_id"] == boot_id() and process is not None and process.start == owner["start_time"]


def exit_from_json(data: Mapping[str, JSON]) -> Exit:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    known = {name: value for name, value in fields.items() if name in _EXIT_FIELDS}
    return Exit(**known)  # type: ignore[arg-type]  # the fields that the keeper wrote


@cache
def this_engine(pid: int) -> Mapping[str, JSON]:
    """What an engine is known by; ``pid`` is this process's, which a fork changes."""
    process = read_process(pid)
    return {"pid": pid, "start_time": process.start if process else 0, "boot_id": boot_id()}
