"""The plugin that is looked at: what it offers, and how to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import attrs

from mahavishnu_core.catalog import CORE_AGENT, CORE_PLACE
from mahavishnu_core.entry_points import discover
from mahavishnu_core.errors import PluginError, UsageError
from mahavishnu_core.events import Finished
from mahavishnu_core.host import Host, load_plugins
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import Command, Task, Worker, WorkerStatus, WorkerType
from mahavishnu_core.settings.suggest import did_you_mean
from mahavishnu_core.stream.allowance import Allowance
from mahavishnu_core.testing.reading import Reading, read
from mahavishnu_core.testing.samples import Sample
from mahavishnu_core.watch import HookBlocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mahavishnu_core.events import Event
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.models import JSON, Exit

Offered = TypeVar("Offered")

SESSION = "5b0f0c9e-3f4f-4b9e-9a57-0d5b7a1e2c44"
_CREATED = "2026-01-01T00:00:00.000000+00:00"
_SECONDS = 300.0


@attrs.frozen
class Subject:
    """A loaded plugin, alone beside the core."""

    name: str
    source: str
    host: Host
    hooks: tuple[str, ...]
    types: tuple[WorkerType, ...]
    samples: tuple[Sample, ...]
    odd: tuple[str, ...]
    """What it offers beside them that is neither a worker type nor a sample."""

    @property
    def agent_types(self) -> tuple[WorkerType, ...]:
        """The worker types whose agents are looked at: not those of other plugins in a place of its own."""
        return tuple(kind for kind in self.types if not self.lends_place(kind))

    @property
    def task_types(self) -> tuple[WorkerType, ...]:
        """Those of them whose workers take tasks: standing ones do not."""
        return tuple(kind for kind in self.agent_types if not kind.standing)

    def lends_place(self, kind: WorkerType) -> bool:
        """Whether a type runs another plugin's agent in this plugin's place."""
        return kind.place != CORE_PLACE and kind.agent != CORE_AGENT and "execute" not in self.hooks

    def samples_of(self, kind: WorkerType) -> list[Sample]:
        return [sample for sample in self.samples if sample.worker_type == kind.name]

    def good_sample(self, kind: WorkerType) -> Sample | None:
        """The shortest that is completed in a conversation of its own, has an answer and some lines."""
        for sample in sorted(self.samples_of(kind), key=lambda sample: len(sample.stdout)):
            is_fit = sample.status is WorkerStatus.COMPLETED and not sample.resume
            if is_fit and sample.stdout.count(b"\n") > 1 and self.read(kind, sample).result.has_output():
                return sample
        return None

    def command(self, worker: Worker, task: Task) -> Command | None:
        return cast("Command | None", self.host.ask("execute", worker=worker, task=task))

    def parser(self, worker: Worker, task: Task) -> Parser:
        """Raises PluginError where it has none."""
        parser = self.host.ask("parse_progress", worker=worker, task=task)
        if parser is None:
            raise PluginError(f"parse_progress answers None for its own agent {worker.type.agent!r}")
        return cast("Parser", parser)

    def read(self, kind: WorkerType, sample: Sample, cuts: Iterable[int] = ()) -> Reading:
        """What its parser makes of a sample, in pieces cut at these bytes.

        Raises HookBlocked where it does not come back, and from then on whenever the plugin is asked for a
        parser: what is played from its samples would wait for it over and over.
        """
        return self._read(kind, sample, cuts)

    def events(self, call: Callable[[], Iterable[Event]]) -> list[Event]:
        """What a call of its parser gives. Raises what that raises, and HookBlocked."""
        watch = self.host.watch(self.name, "its parser")
        if watch is None:
            return list(call())
        events = watch.run(lambda: Allowance().take(call()))
        if events is None:
            raise watch.give_up("it gave more events than its lines can mean")
        return events

    def parts(self, kind: WorkerType, sample: Sample) -> Parts:
        """A sample cut where its agent says that it has ended."""
        lines = sample.stdout.splitlines(keepends=True)
        for end in range(1, len(lines) + 1):
            so_far = attrs.evolve(sample, stdout=b"".join(lines[:end]))
            events = self._read(kind, so_far, is_deaf=True).events
            if any(isinstance(event, Finished) for event in events):
                return Parts(b"".join(lines[: end - 1]), b"".join(lines[end - 1 :]), ends_itself=True)
        return Parts(b"".join(lines[:-1]), b"".join(lines[-1:]), ends_itself=False)

    def _read(
        self, kind: WorkerType, sample: Sample, cuts: Iterable[int] = (), *, is_deaf: bool = False
    ) -> Reading:
        """A deaf parser is not told of the exit, so that what it says comes from lines alone."""
        worker = worker_of(kind)
        task = task_of(worker, resume=sample.resume)
        parser = _WatchedParser(self, self.parser(worker, task), is_deaf)
        reading = read(parser, worker, task, sample, cuts)
        if parser.blocked is not None:
            self.host.cut_off(self.name, "parse_progress", parser.blocked)
            raise parser.blocked
        return reading


@attrs.frozen
class Parts:
    """A sample in two: all that comes before the agent's own end, and that end."""

    opening: bytes
    ending: bytes
    ends_itself: bool
    """Whether the agent has an end event; else its exit decides, and the ending is just the last line."""


@attrs.define(eq=False)
class _WatchedParser:
    """A parser that is not asked any more once it did not come back: the reader would ask it line by line."""

    _subject: Subject
    _parser: Parser
    _is_deaf: bool
    blocked: HookBlocked | None = None

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> list[Event]:
        return self._ask(lambda: self._parser.feed(lines))

    def end(self, exit: Exit, stderr: str) -> list[Event]:
        return [] if self._is_deaf else self._ask(lambda: self._parser.end(exit, stderr))

    def _ask(self, call: Callable[[], Iterable[Event]]) -> list[Event]:
        if self.blocked is None:
            try:
                return self._subject.events(call)
            except HookBlocked as error:
                self.blocked = error
        return []


@attrs.frozen
class LentAgent:
    """The agents of a plugin, as a plugin of another host: only its commands and parsers take part there."""

    _subject: Subject

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> Command | None:
        return self._subject.command(worker, task)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> Parser | None:
        return self._subject.parser(worker, task)


def open_subject(name: str) -> Subject:
    """The installed plugin of that name. Raises UsageError for a name that nobody has, and PluginError."""
    names = {entry.name for entry in discover()}
    if name not in names:
        raise UsageError(
            f"there is no plugin {name!r}{did_you_mean(name, names)}: "
            "list them with 'mahavishnu plugins list'"
        )
    return subject_of(load_plugins({"MAHAVISHNU_PLUGINS": name}), name)


def subject_of(host: Host, name: str) -> Subject:
    """The plugin of that name in a host. Raises PluginError where it was not loaded."""
    for refused in host.refused:
        if refused.name == name:
            raise PluginError(str(refused))
    loaded = next(plugin for plugin in host.loaded if plugin.name == name)
    types, odd_types = _offers(host, "worker_types", name, WorkerType)
    samples, odd_samples = _offers(host, "samples", name, Sample)
    return Subject(name, loaded.source, host, loaded.hooks, types, samples, odd_types + odd_samples)


def worker_of(kind: WorkerType) -> Worker:
    return Worker("w0000000", kind, Path("/workspace"), _CREATED)


def task_of(
    worker: Worker, prompt: str = "Go", *, resume: bool = False, session_id: str = SESSION, number: int = 1
) -> Task:
    task_id = f"{worker.worker_id}.{number}"
    directory = Path(f"/state/workers/{worker.worker_id}/tasks/{task_id}")
    return Task(task_id, worker.worker_id, prompt, _SECONDS, session_id, resume, _CREATED, directory)


def _offers(
    host: Host, hook: str, name: str, kind: type[Offered]
) -> tuple[tuple[Offered, ...], tuple[str, ...]]:
    """What a plugin gives for a hook, and in words what of it is of another kind.

    Raises PluginError when it failed.
    """
    answers = [answer for plugin, answer in host.attempts(hook) if plugin == name]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    # as the catalog has it: what is no list is an offer of itself
    offers = [each for answer in answers for each in (answer if isinstance(answer, list) else [answer])]
    fit = tuple(offer for offer in offers if isinstance(offer, kind))
    odd = tuple(f"{hook} offers {offer!r}" for offer in offers if not isinstance(offer, kind))
    return fit, odd
