"""The plugin that is looked at: what it offers, and how to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs

from mahavishnu_core.entry_points import discover
from mahavishnu_core.errors import PluginError, UsageError
from mahavishnu_core.events import Finished
from mahavishnu_core.host import Host, load_plugins
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import Command, Task, Worker, WorkerStatus, WorkerType
from mahavishnu_core.settings.suggest import did_you_mean
from mahavishnu_core.testing.reading import Reading, read
from mahavishnu_core.testing.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mahavishnu_core.events import Event
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.models import JSON, Exit

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
        """What its parser makes of a sample, in pieces cut at these bytes."""
        worker = worker_of(kind)
        task = task_of(worker, resume=sample.resume)
        return read(self.parser(worker, task), worker, task, sample, cuts)

    def parts(self, kind: WorkerType, sample: Sample) -> Parts:
        """A sample cut where its agent says that it has ended."""
        worker = worker_of(kind)
        task = task_of(worker, resume=sample.resume)
        lines = sample.stdout.splitlines(keepends=True)
        for end in range(1, len(lines) + 1):
            so_far = attrs.evolve(sample, stdout=b"".join(lines[:end]))
            parser = _Deaf(self.parser(worker, task))
            if any(isinstance(event, Finished) for event in read(parser, worker, task, so_far).events):
                return Parts(b"".join(lines[: end - 1]), b"".join(lines[end - 1 :]), ends_itself=True)
        return Parts(b"".join(lines[:-1]), b"".join(lines[-1:]), ends_itself=False)


@attrs.frozen
class Parts:
    """A sample in two: all that comes before the agent's own end, and that end."""

    opening: bytes
    ending: bytes
    ends_itself: bool
    """Whether the agent has an end event; else its exit decides, and the ending is just the last line."""


@attrs.frozen
class _Deaf:
    """A parser that is not told of the exit, so that what it says comes from lines alone."""

    _parser: Parser

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterable[Event]:
        return self._parser.feed(lines)

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        return ()


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
    return Subject(
        name,
        loaded.source,
        host,
        loaded.hooks,
        tuple(kind for kind in _answers(host, "worker_types", name) if isinstance(kind, WorkerType)),
        tuple(sample for sample in _answers(host, "samples", name) if isinstance(sample, Sample)),
    )


def worker_of(kind: WorkerType) -> Worker:
    return Worker("w0000000", kind, Path("/workspace"), _CREATED)


def task_of(
    worker: Worker, prompt: str = "Go", *, resume: bool = False, session_id: str = SESSION, number: int = 1
) -> Task:
    task_id = f"{worker.worker_id}.{number}"
    directory = Path(f"/state/workers/{worker.worker_id}/tasks/{task_id}")
    return Task(task_id, worker.worker_id, prompt, _SECONDS, session_id, resume, _CREATED, directory)


def _answers(host: Host, hook: str, name: str) -> list[object]:
    """What a plugin gives for a hook. Raises PluginError when it failed."""
    found: list[object] = []
    for plugin, answer in host.attempts(hook):
        if plugin == name and isinstance(answer, Exception):
            raise answer
        if plugin == name:
            found += cast("list[object]", answer)
    return found
