"""What an agent itself put out, read as a recording of one task; whose it is can be guessed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_cli.recording import Recording
from mahavishnu_cli.words import counted
from mahavishnu_core import Exit, Task, Worker
from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, TaskEvent
from mahavishnu_core.stream import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Parser, WorkerType
    from mahavishnu_core.host import Host

_WORKER, _TASK = "recording", "recording.1"
_ENDED = Exit(exit_code=0)
"""Raw output does not say how its program ended: what it says itself is taken as meant."""


@attrs.frozen
class RawOutput:
    """What the parser of one worker type makes of some output."""

    type: WorkerType
    events: list[Event]
    noise: int
    is_truncated: bool
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

    def recording(self) -> Recording:
        items = [TaskEvent(_WORKER, _TASK, seq, event) for seq, event in enumerate(self.events, 1)]
        faults = [f"{counted(self.noise, 'line')} without a JSON object"] if self.noise else []
        if self.is_truncated:
            faults.append("it ends in the middle of a line")
        return Recording(items, worker_type=self.type.name, faults=tuple(faults))


def read_raw(host: Host, kind: WorkerType, data: bytes) -> RawOutput:
    """Raises PluginError where no plugin reads the output of that type."""
    worker = Worker(_WORKER, kind, Path(), created="")
    task = Task(_TASK, _WORKER, "", 0.0, "", resume=False, created="", directory=Path())
    parser = cast("Parser | None", host.ask("parse_progress", worker=worker, task=task))
    if parser is None:
        raise PluginError(f"no plugin reads the output of agent {kind.agent!r}: is it installed?")
    reader = StreamReader(parser, kind.progress_tracking)
    events = reader.feed(data)
    rest = reader.end(_ENDED, "")
    fits = not all(map(_is_unknown, events))
    return RawOutput(kind, events + rest, reader.noise, reader.truncated, fits)


def guess(host: Host, kinds: Iterable[WorkerType], data: bytes) -> RawOutput | None:
    """The reading of the type whose parser knows this output best; None where it says nothing to any of them.

    Plain lines say nothing of who wrote them, so types that report by them are left out.
    """
    by_agent = {kind.agent: kind for kind in reversed([*kinds]) if kind.progress_tracking != "lines"}
    readings = [read_raw(host, kind, data) for kind in by_agent.values()]
    return min((each for each in readings if each.fits), key=lambda each: each.misfit, default=None)


def _is_unknown(event: Event) -> bool:
    return isinstance(event, Raw) or (isinstance(event, Notice) and event.kind in {"noise", "malformed"})
