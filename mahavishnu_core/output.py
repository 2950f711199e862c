"""The output of one task, read from its file as far as it has come: bytes in, events told and tallied."""

from __future__ import annotations

import math
from contextlib import closing, suppress
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Finished, Notice
from mahavishnu_core.models import Exit
from mahavishnu_core.pieces import TaskFiles, open_files, stderr_tail
from mahavishnu_core.stream import StreamReader
from mahavishnu_core.stream.allowance import Allowance
from mahavishnu_core.tally import Tally
from mahavishnu_core.verdict import Seen
from mahavishnu_core.watch import HookBlocked, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mahavishnu_core.app import App
    from mahavishnu_core.engine import Engine
    from mahavishnu_core.events import Event
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.host import Host
    from mahavishnu_core.models import JSON, Task, Worker, WorkerResult


@attrs.define(eq=False)
class TaskOutput:
    """Reads a task's files from their start, whoever wrote them and whenever.

    They are read in the event loop: they lie in the page cache, and a thread would cost more than the read.
    """

    _engine: Engine
    _task: Task
    _plugin: str
    """Whose parser reads it."""
    _reader: StreamReader
    tally: Tally
    size: int = 0
    """Bytes of output read so far."""
    _files: TaskFiles | None = None
    _results_at: list[float] = attrs.field(factory=list)
    """How much was read when each result event came."""

    def read(self, ended: Exit | None = None) -> bool:
        """Take in what has come since, at most a chunk; False when there is nothing new.

        ``ended`` is how the command ended, once it has: then a chunk ends where it was asked to.
        """
        if self._files is None:
            try:
                self._files = open_files(self._task)
            except FileNotFoundError:
                return False
        up_to = None if ended is None else ended.output_bytes
        piece = self._files.read(up_to, is_over=ended is not None)
        if piece is None:
            return False
        self._take(piece.reports, self.size)
        self.size = self._files.size
        self._take(self._reader.feed(piece.output), self.size)
        return True

    def finish(self, ended: Exit) -> Seen:
        """All that was seen, once the command has ended and ``read`` has found the end of the file."""
        stderr = stderr_tail(self._task)
        self._take(self._reader.end(ended, stderr), math.inf)
        limit = math.inf if ended.output_bytes is None else ended.output_bytes
        in_time = sum(place <= limit for place in self._results_at)
        return Seen(self.tally, ended, stderr, self._reader.truncated, self._reader.noise, in_time)

    def close(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None

    def _take(self, events: list[Event], place: float) -> None:
        if events:
            first = self.tally.events + 1
            self.tally.add(events)
            self._results_at += [place] * (len(self.tally.finished) - len(self._results_at))
            self._engine.tell(self._task, first, events, self._plugin)


def open_output(engine: Engine, worker: Worker, task: Task) -> TaskOutput:
    """The output of a task with the parser of its agent. Raises PluginError where no plugin has one."""
    plugin, reader = reader_of(engine.app.host, worker, task)
    return TaskOutput(engine, task, plugin, reader, Tally(keeps_text=not worker.type.is_plain))


def events_so_far(app: App, task: Task) -> Iterator[list[Event]]:
    """The events of a task as far as its files go, in the order and number that every reader gives them.

    A list comes for each piece of its output that is read. Raises PluginError where no plugin reads it.
    """
    _, reader = reader_of(app.host, app.state.worker(task.worker_id), task)
    ended = app.state.exit(task) or _never_begun(app.state.result(task))
    with suppress(FileNotFoundError), closing(open_files(task)) as files:
        while (piece := files.read(is_over=ended is not None)) is not None:
            yield [*piece.reports, *reader.feed(piece.output)]
    if ended is not None:
        yield reader.end(ended, stderr_tail(task))


def reader_of(host: Host, worker: Worker, task: Task) -> tuple[str, StreamReader]:
    """Which plugin reads the output of a task, and the reader, in which it is watched.

    Raises PluginError where no plugin has a parser for it.
    """
    found = host.answered("parse_progress", worker=worker, task=task)
    if found is None:
        raise PluginError(f"no plugin reads the output of agent {worker.type.agent!r}: is it installed?")
    plugin, parser = found[0], cast("Parser", found[1])
    watch = host.watch(plugin, "its parser")
    watched = parser if watch is None else _WatchedParser(parser, watch)
    return plugin, StreamReader(watched, worker.type.progress_tracking)


def _never_begun(result: WorkerResult | None) -> Exit | None:
    """How a task ended that has a result and no exit: its command was never started."""
    return None if result is None else Exit(error=result.error, ended=result.timestamp)


class _WatchedParser:
    """A parser of a plugin: what fails in it is named.

    Once it has blocked, or given more events than its lines can mean, it is not asked any more.
    """

    def __init__(self, parser: Parser, watch: Watch) -> None:
        self._parser, self._watch = parser, watch
        self._allowance = Allowance()
        self._blocked: HookBlocked | None = None

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> list[Event]:
        return self._ask(lambda: self._allowance.take(self._parser.feed(lines), lines))

    def end(self, exit: Exit, stderr: str) -> list[Event]:
        events = self._ask(lambda: Allowance().take(self._parser.end(exit, stderr)))
        if self._blocked is not None:
            events.append(Finished(success=False, error=str(self._blocked), reason="no_result"))
        return events

    def _ask(self, call: Callable[[], list[Event] | None]) -> list[Event]:
        if self._blocked is not None:
            return []
        try:
            events = self._watch.run(call)
            if events is not None:
                return events
            self._blocked = self._watch.give_up("it gave more events than its lines can mean")
        except HookBlocked as error:
            self._blocked = error
        except Exception as error:
            raise self._watch.failure(error) from error
        return [Notice("error", str(self._blocked))]
