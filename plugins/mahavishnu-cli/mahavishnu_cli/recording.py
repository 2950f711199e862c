"""A run read back: the events of its tasks in their order, and the results as far as they are known.

The file is held as it is; its events are read when they are wanted, for as objects they are far bigger.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, cast, get_args, get_type_hints

import attrs
import msgspec

from mahavishnu_core import WorkerResult
from mahavishnu_core.events import Event, TaskEvent, event_name
from mahavishnu_core.stream import LineSplitter, LongLine, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mahavishnu_core.models import JSON

_ANYTHING = {"JSON": object}
_FIELDS = {event_name(kind): (kind, get_type_hints(kind, localns=_ANYTHING)) for kind in get_args(Event)}
_NOT_NEGATIVE = Annotated[float, msgspec.Meta(ge=0)]
_OF_A_RESULT = get_type_hints(WorkerResult, localns=_ANYTHING) | {"duration_seconds": _NOT_NEGATIVE}
_CHUNK = 1 << 18


@attrs.frozen
class Facts:
    """What is shown of a result's ``metadata``."""

    task_id: str | None = None
    worker_type: str | None = None
    reason: str | None = None
    usage: dict[str, int] | None = None
    cost_usd: float | None = None


@attrs.frozen
class Track:
    """Where in a recording a task is to be found."""

    worker_id: str
    last: int
    """The number of its last event among all, from 0."""


@attrs.frozen
class Recording:
    """What is in a file that can be played back."""

    events: Callable[[], Iterable[TaskEvent]]
    """Reads them, from the first on."""
    tracks: Mapping[str, Track]
    """By task, of those that have events."""
    results: Sequence[WorkerResult] = ()
    worker_type: str = ""
    """Of all workers whose results do not say it."""
    faults: tuple[str, ...] = ()
    """What could not be read, one line each."""


def is_recorded(data: Mapping[str, JSON]) -> bool:
    """Whether this is a line of ``--jsonl``: no agent names worker, task and number in what it puts out."""
    if data.get("type") == "result":
        return {"worker_id", "status"} <= data.keys()
    return {"worker_id", "task_id", "seq"} <= data.keys()


def chunks_of(data: bytes) -> Iterator[bytes]:
    """The data in pieces: what is made of one is gone before the next."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def lines_in(data: bytes) -> Iterator[bytes | LongLine]:
    """The lines of a file, the last one too where it is unfinished."""
    splitter = LineSplitter()
    for chunk in chunks_of(data):
        yield from splitter.feed(chunk)
    rest = splitter.finish()
    if rest is not None:
        yield rest


def read_recording(data: bytes) -> Recording:
    """What a ``--jsonl`` file holds; a line that is neither event nor result is a fault."""
    tracks: dict[str, Track] = {}
    results: list[WorkerResult] = []
    broken: list[int] = []
    events = 0
    for number, line in enumerate(lines_in(data), 1):
        match _read(line):
            case TaskEvent(worker_id, task_id):
                tracks[task_id] = Track(worker_id, events)
                events += 1
            case WorkerResult() as result:
                results.append(result)
            case None if isinstance(line, LongLine) or line.strip():
                broken.append(number)
    return Recording(partial(_events_in, data), tracks, results, faults=_faults(broken))


def facts_of(result: WorkerResult) -> Facts:
    """Raises ``msgspec.ValidationError`` where something in the metadata is of the wrong type."""
    return msgspec.convert(result.metadata, Facts)


def _events_in(data: bytes) -> Iterator[TaskEvent]:
    return (item for item in map(_read, lines_in(data)) if isinstance(item, TaskEvent))


def _read(line: bytes | LongLine) -> TaskEvent | WorkerResult | None:
    data = "" if isinstance(line, LongLine) else decode(line)
    if isinstance(data, str):
        return None
    try:
        return _result(data) if data.get("type") == "result" else _event(data)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def _event(data: Mapping[str, JSON]) -> TaskEvent:
    kind, hints = _FIELDS[cast("str", data["type"])]
    event = kind(**_converted(data, hints))
    worker_id, task_id = (msgspec.convert(data[name], str) for name in ("worker_id", "task_id"))
    return TaskEvent(worker_id, task_id, msgspec.convert(data["seq"], int), event)


def _result(data: Mapping[str, JSON]) -> WorkerResult:
    result = WorkerResult(**_converted(data, _OF_A_RESULT))  # type: ignore[arg-type]  # made of the types due
    facts_of(result)
    return result


def _converted(data: Mapping[str, JSON], hints: Mapping[str, type]) -> dict[str, object]:
    """Those of the fields that are there; a later version may have more."""
    return {name: msgspec.convert(data[name], hint) for name, hint in hints.items() if name in data}


def _faults(broken: Sequence[int]) -> tuple[str, ...]:
    match broken:
        case []:
            return ()
        case [number]:
            return (f"line {number} is left out: it is neither an event nor a result",)
    return (f"{len(broken)} lines are left out, line {broken[0]} first: they are neither events nor results",)
