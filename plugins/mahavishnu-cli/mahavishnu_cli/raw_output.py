"""What an agent itself put out, read as a recording of one task; whose it is can be guessed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from mahavishnu_cli.recording import Recording, Track, chunks_of
from mahavishnu_cli.words import counted
from mahavishnu_core import Exit, Task, Worker
from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, TaskEvent
from mahavishnu_core.output import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mahavishnu_core import WorkerType
    from mahavishnu_core.host import Host
    from mahavishnu_core.stream import StreamReader

_WORKER, _TASK = "recording", "recording.1"
_ENDED = Exit(exit_code=0)
"""Raw output does not say how its program ended: what it says itself is taken as meant."""


def read_raw(host: Host, kind: WorkerType, data: bytes) -> Recording | None:
    """None where no line says anything to the parser of the type. Raises PluginError where it has none."""
    reader = _reader(host, kind)
    count, fits = 0, False
    for chunk in chunks_of(data):
        events = reader.feed(chunk)
        count += len(events)
        fits = fits or not all(map(_is_unknown, events))
    count += len(reader.end(_ENDED, ""))
    if not fits:
        return None
    tracks = {_TASK: Track(_WORKER, count - 1)}
    return Recording(partial(_told, host, kind, data), tracks, worker_type=kind.name, faults=_faults(reader))


def guess(host: Host, kinds: Iterable[WorkerType], head: bytes, *, is_whole: bool) -> WorkerType | None:
    """The type whose parser knows this beginning of an output best; None where it says nothing to any.

    Plain lines say nothing of who wrote them, so types that report by them are left out.
    """
    by_agent = {kind.agent: kind for kind in reversed([*kinds]) if not kind.is_plain}
    impressions = [_impression(host, kind, head, is_whole=is_whole) for kind in by_agent.values()]
    best = min((each for each in impressions if each.fits), key=lambda each: each.misfit, default=None)
    return best.type if best else None


@attrs.frozen
class _Impression:
    """What the parser of one worker type makes of the beginning of some output."""

    type: WorkerType
    events: list[Event]
    fits: bool
    """Whether a line of it says something to the parser."""

    @property
    def misfit(self) -> tuple[bool, int, int]:
        """How badly the parser and the output go together, as a key to sort by.

        No end, then events that the parser does not know; where all is known to several parsers, the one
        that finds fewer facts in the beginning.
        """
        has_ended = any(isinstance(event, Finished) for event in self.events)
        begun = [event for event in self.events if isinstance(event, Started)]
        facts = sum(fact is not None for event in begun for fact in (event.version, event.permission_mode))
        return not has_ended, sum(map(_is_unknown, self.events)), -facts


def _impression(host: Host, kind: WorkerType, head: bytes, *, is_whole: bool) -> _Impression:
    reader = _reader(host, kind)
    events = reader.feed(head)
    fits = not all(map(_is_unknown, events))
    # an agent whose end is its exit alone would seem to end where the others are only cut
    rest = reader.end(_ENDED, "") if is_whole else []
    return _Impression(kind, events + rest, fits)


def _told(host: Host, kind: WorkerType, data: bytes) -> Iterator[TaskEvent]:
    for seq, event in enumerate(_events(_reader(host, kind), data), 1):
        yield TaskEvent(_WORKER, _TASK, seq, event)


def _events(reader: StreamReader, data: bytes) -> Iterator[Event]:
    for chunk in chunks_of(data):
        yield from reader.feed(chunk)
    yield from reader.end(_ENDED, "")


def _reader(host: Host, kind: WorkerType) -> StreamReader:
    worker = Worker(_WORKER, kind, Path(), created="")
    task = Task(_TASK, _WORKER, "", 0.0, "", resume=False, created="", directory=Path())
    return reader_of(host, worker, task)[1]


def _faults(reader: StreamReader) -> tuple[str, ...]:
    faults = [f"{counted(reader.noise, 'line')} without a JSON object"] if reader.noise else []
    if reader.truncated:
        faults.append("it ends in the middle of a line")
    return tuple(faults)


def _is_unknown(event: Event) -> bool:
    return isinstance(event, Raw) or (isinstance(event, Notice) and event.kind in {"noise", "malformed"})
