"""How an agent's output is read: the same for any pieces, and whatever is in a line."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, get_args

import orjson

from mahavishnu_core.events import Event, TaskEvent, to_dict
from mahavishnu_core.models import Exit
from mahavishnu_core.stream import decode
from mahavishnu_core.testing.contract.row import Broken, DoesNotApply, Row, require
from mahavishnu_core.testing.contract.subject import task_of, worker_of
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mahavishnu_core.models import JSON, WorkerType
    from mahavishnu_core.testing.contract.subject import Subject
    from mahavishnu_core.testing.samples import Sample

_Line: TypeAlias = "dict[str, JSON] | str"

SEED = 20260101
_CUTS = 8
_BYTEWISE = 20_000
"""Bytes up to which a sample is also read one by one."""
_ABSURD: tuple[JSON, ...] = (
    None, True, 0, -1, 1e308, "", "x", [], {}, [[]], [None], {"": None}, [{"type": []}], "\ufffd",
)  # fmt: skip
_TEXTS = ("", " \t", "words", "a NUL \0 in it", "\ufffd", "{", "\x1b[31m \u202e", "long " * 200_000)
"""Lines that are no objects."""
_ENDS = (Exit(), Exit(exit_code=0), Exit(exit_code=255), Exit(signal="SIGKILL"), Exit(error="no such"))


def rows(subject: Subject) -> Iterator[Row]:
    looks: dict[str, tuple[str, Callable[[Subject, WorkerType], str]]] = {
        "pieces": ("its samples give the same events in whatever pieces they come", _reads_any_pieces_alike),
        "absurd": ("no line makes its parser raise, or stay away, whatever it holds", _never_raises),
        "events": ("what it gives are events, and can be written as JSON", _gives_events),
    }
    for kind in subject.agent_types:
        for name, (promise, look) in looks.items():
            yield Row(f"{kind.name}: {name}", promise, partial(look, subject, kind))


def _reads_any_pieces_alike(subject: Subject, kind: WorkerType) -> str:
    samples = _samples(subject, kind)
    chance = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    readings = 0
    for sample in samples:
        whole = subject.read(kind, sample).events
        for cuts in _ways_to_cut(len(sample.stdout), chance):
            readings += 1
            if subject.read(kind, sample, cuts).events != whole:
                raise Broken(f"sample {sample.name!r}: other events when it is cut at {cuts[:5]}…")
    return f"{len(samples)} samples, {readings} readings"


def _ways_to_cut(size: int, chance: random.Random) -> Iterator[list[int]]:
    yield []
    if size <= _BYTEWISE:
        yield list(range(size))
    for _ in range(_CUTS):
        yield sorted(chance.randrange(size + 1) for _ in range(chance.randrange(1, 40)))


def _never_raises(subject: Subject, kind: WorkerType) -> str:
    worker = worker_of(kind)
    parser = subject.parser(worker, task_of(worker))
    count = 0
    for line in _absurd_lines(kind, _samples(subject, kind)):
        count += 1
        try:
            subject.events(partial(parser.feed, [line]))
        except Exception as error:  # foreign code: that it raises is what is looked for
            raise Broken(f"{type(error).__name__}: {error} on {one_line(str(line), 200)!r}") from error
    for ended in _ENDS:
        parser = subject.parser(worker, task_of(worker))
        subject.events(partial(parser.end, ended, "\0 \udc80\n" * 3))
    return f"{count} lines"


def _absurd_lines(kind: WorkerType, samples: list[Sample]) -> Iterator[_Line]:
    yield from _TEXTS
    if kind.progress_tracking != "lines":  # there, all are texts
        for sample in samples:
            for line in _distinct_objects(sample):
                yield from _distortions(line)


def _distinct_objects(sample: Sample) -> list[dict[str, JSON]]:
    """One line of each shape: many lines of a stream differ in a word."""
    found: dict[tuple[str, ...], dict[str, JSON]] = {}
    for line in sample.stdout.split(b"\n"):
        data = decode(line)
        if isinstance(data, dict):
            found.setdefault((str(data.get("type")), str(data.get("subtype")), *sorted(data)), data)
    return list(found.values())


def _distortions(value: dict[str, JSON]) -> Iterator[dict[str, JSON]]:
    """The object with each of its values, at any depth, replaced by each absurd one, or left out."""
    for key, inner in value.items():
        rest = {name: kept for name, kept in value.items() if name != key}
        yield rest
        for absurd in _ABSURD:
            yield {**rest, key: absurd}
        if isinstance(inner, dict):
            for distorted in _distortions(inner):
                yield {**value, key: distorted}
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            for distorted in _distortions(inner[0]):
                yield {**value, key: [distorted, *inner[1:]]}


def _gives_events(subject: Subject, kind: WorkerType) -> str:
    count = 0
    for sample in _samples(subject, kind):
        for number, event in enumerate(subject.read(kind, sample).events, 1):
            require(isinstance(event, get_args(Event)), f"{type(event).__name__} is no event")
            orjson.dumps(to_dict(TaskEvent("w", "w.1", number, event)))
            count += 1
    return f"{count} events"


def _samples(subject: Subject, kind: WorkerType) -> list[Sample]:
    found = subject.samples_of(kind)
    if not found:
        raise DoesNotApply("no samples")
    return found
