"""Reads a sample as an engine reads a running task, in any pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.stream import StreamReader
from mahavishnu_core.tally import Tally
from mahavishnu_core.verdict import Seen, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.events import Event
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.models import Task, Worker, WorkerResult
    from mahavishnu_core.testing.samples import Sample


@attrs.frozen
class Reading:
    """What a parser made of a sample."""

    events: list[Event]
    result: WorkerResult


def read(parser: Parser, worker: Worker, task: Task, sample: Sample, cuts: Iterable[int] = ()) -> Reading:
    """The events and the result of a sample whose output comes in pieces, cut at these bytes."""
    tracking = worker.type.progress_tracking
    reader, tally = StreamReader(parser, tracking), Tally(keeps_text=tracking != "lines")
    ends = [*sorted(min(cut, len(sample.stdout)) for cut in cuts), len(sample.stdout)]
    events: list[Event] = []
    start = 0
    for end in ends:
        events += reader.feed(sample.stdout[start:end])
        start = end
    events += reader.end(sample.exit, sample.stderr)
    tally.add(events)
    seen = Seen(tally, sample.exit, sample.stderr, reader.truncated, reader.noise)
    return Reading(events, result_of(worker, task, seen))
