"""Workers, tasks and exits as the JSON of their files, and back.

They lie where commands can write. What says something else than we wrote is damaged, and read as nothing.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from mahavishnu_core.keeper.family import boot_id, read_process
from mahavishnu_core.models import Exit, Task, Worker, WorkerResult, WorkerType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.models import JSON

Kinds: TypeAlias = "Mapping[str, type | tuple[type, ...]]"
"""Of which types the values of a record may be, by name. A list is one of texts."""

_NUMBER = (int, float)
_NO_NUMBER = (int, float, type(None))
_NO_TEXT = (str, type(None))
_WORKER: Kinds = {"worker_id": str, "type": dict, "workspace": str, "created": str, "facts": dict}
_WORKER_TYPE: Kinds = {
    "name": str,
    "agent": str,
    "place": str,
    "command_template": str,
    "description": str,
    "aliases": list,
    "progress_tracking": str,
    "result_storage": _NO_TEXT,
    "timeout_seconds": _NO_NUMBER,
    "idle_seconds": _NO_NUMBER,
    "pass_env": list,
    "install": str,
    "tells": list,
    "options": dict,
    "standing": bool,
}
_TASK: Kinds = {
    "task_id": str,
    "worker_id": str,
    "prompt": str,
    "timeout_seconds": _NO_NUMBER,
    "session_id": str,
    "resume": bool,
    "created": str,
    "idempotency_key": _NO_TEXT,
}
_METADATA: Kinds = {
    "task_id": str,
    "usage": (dict, type(None)),
    "cost_usd": _NO_NUMBER,
    "warnings": (list, type(None)),
    "evidence": (dict, type(None)),
    "log": (dict, type(None)),
}
"""Of a result those values with which we reckon."""
_ABSENT: JSON = cast("JSON", object())
"""Of no kind."""
_ENGINE: Kinds = {"pid": int, "start_time": int, "boot_id": str}
_EXIT: Kinds = {
    "exit_code": (int, type(None)),
    "signal": _NO_TEXT,
    "ended": str,
    "duration_seconds": _NUMBER,
    "cause": _NO_TEXT,
    "output_bytes": (int, type(None)),
    "error": _NO_TEXT,
    "strays": list,
    "survivors": list,
    "reason": _NO_TEXT,
    "warnings": list,
}


class Damaged(ValueError):
    """A record says something else than we wrote."""


def worker_to_json(worker: Worker) -> dict[str, JSON]:
    """Without the type's ``env``, which may hold secrets."""
    record: dict[str, JSON] = attrs.asdict(worker, filter=lambda field, _: field.name != "env")
    return record | {"workspace": str(worker.workspace)}


def worker_from_json(data: Mapping[str, JSON]) -> Worker:
    """Raises Damaged."""
    fields = _whole(data, _WORKER)
    recipe = _fitting(cast("dict[str, JSON]", fields["type"]), _WORKER_TYPE)
    if not recipe.keys() >= {"name", "agent"}:
        raise Damaged("its type is not what it was")
    kind = WorkerType(**_tuples(recipe))  # type: ignore[arg-type]  # of the right kinds
    workspace = Path(str(data["workspace"]))
    return Worker(**{**fields, "type": kind, "workspace": workspace})  # type: ignore[arg-type]


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
    """The task that lies in a directory of its name. Raises Damaged."""
    fields = _whole({"idempotency_key": None, **data}, _TASK)
    task = Task(**fields, directory=directory)  # type: ignore[arg-type]  # of the right kinds
    if (task.task_id, task.worker_id) != (directory.name, directory.name.rpartition(".")[0]):
        raise Damaged("it names another task")
    return task


def engine_lives(record: Mapping[str, JSON]) -> bool:
    """Whether the engine that a task's record names is still there."""
    owner = record.get("engine")
    if not isinstance(owner, dict) or _fitting(owner, _ENGINE).keys() != _ENGINE.keys():
        return False
    process = read_process(cast("int", owner["pid"]))
    return owner["boot_id"] == boot_id() and process is not None and process.start == owner["start_time"]


def exit_from_json(data: Mapping[str, JSON]) -> Exit:
    """How a command ended, as far as the record says it as we would."""
    return Exit(**_tuples(_fitting(data, _EXIT)))  # type: ignore[arg-type]  # of the right kinds


def _whole(data: Mapping[str, JSON], kinds: Kinds) -> dict[str, JSON]:
    """The values of a record, all of which must be there. Raises Damaged."""
    found = _fitting(data, kinds)
    if missing := kinds.keys() - found.keys():
        raise Damaged(f"{min(missing)} is not what it was")
    return found


def _fitting(data: Mapping[str, JSON], kinds: Kinds) -> dict[str, JSON]:
    """Those of the values that are of the right kind."""
    return {
        name: value
        for name, kind in kinds.items()
        if isinstance(value := data.get(name, _ABSENT), kind) and _is_plain_list(value)
    }


def _is_plain_list(value: JSON) -> bool:
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def _tuples(record: dict[str, JSON]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}


def result_from_json(data: Mapping[str, JSON], task: Task) -> WorkerResult:
    """The result that lies in the directory of a task. Raises Damaged."""
    try:
        result = WorkerResult.from_dict(data)
    except (KeyError, ValueError) as error:
        raise Damaged(str(error)) from None
    metadata = result.metadata
    usage = metadata.get("usage")
    figures = usage.values() if isinstance(usage, dict) else ()
    if _fitting(metadata, _METADATA).keys() != metadata.keys() & _METADATA.keys():
        raise Damaged("its metadata is not what it was")
    if not all(isinstance(figure, int) for figure in figures):
        raise Damaged("its usage is not what it was")
    if (result.worker_id, metadata.get("task_id", task.task_id)) != (task.worker_id, task.task_id):
        raise Damaged("it speaks of another task")
    return result


@cache
def this_engine(pid: int) -> Mapping[str, JSON]:
    """What an engine is known by; ``pid`` is this process's, which a fork changes."""
    process = read_process(pid)
    return {"pid": pid, "start_time": process.start if process else 0, "boot_id": boot_id()}
