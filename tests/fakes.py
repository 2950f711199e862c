"""An agent in a place without any process, for tests of the core under Trio's mock clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import attrs
import trio

from mahavishnu_core.events import Event, Started
from mahavishnu_core.host import Host, host_of
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import JSON, Command, Exit, Task, Worker, WorkerType
from mahavishnu_core.stream import GenericParser
from mahavishnu_core.testing import fakes
from mahavishnu_core.testing.fakes import FakeRun, FakeStorage, Hang, Leave, Say, Script, app_of

__all__ = [
    "ANSWER",
    "UP",
    "FakePlace",
    "FakeStorage",
    "Hang",
    "Leave",
    "Say",
    "Script",
    "SharedPlace",
    "StandingPlace",
    "app_of",
    "text",
]

ANSWER: Script = (Say({"type": "result", "result": "the answer"}), Leave())

UP = Say({"type": "up"})
"""With which what runs in a ``StandingPlace`` starts."""


def text(words: str, after: float = 0.0) -> Say:
    return Say({"type": "message", "text": words}, after)


@attrs.define(eq=False)
class FakePlace(fakes.FakePlace):
    """The place ``fake`` with an agent of the same name, which does what ``script`` says for each task."""

    script: Callable[[Task], Script] = lambda _: ANSWER
    types: tuple[WorkerType, ...] = (WorkerType("fake", "fake", "fake"),)

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> Command:
        if task.prompt == "raise":
            raise RuntimeError("the agent is broken")
        return Command(("fake",), task.prompt)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> GenericParser:
        return GenericParser()


@attrs.define(eq=False)
class SharedPlace(FakePlace):
    """The same, which finds a command again, whichever engine launched it."""

    looked_for: list[str] = attrs.field(factory=list)
    """The task of every command that was to be found again."""
    seconds_to_find: float = 0.0

    @hookimpl
    def launch(self, worker: Worker, task: Task, command: Command | None) -> Awaitable[FakeRun] | None:
        if worker.type.place != "fake":
            return None
        return self._find(task) if command is None else self._launch(task)

    async def _find(self, task: Task) -> FakeRun:
        self.looked_for.append(task.task_id)
        await trio.sleep(self.seconds_to_find)
        for run in self.runs:
            if run.task.task_id == task.task_id:
                return run
        unknown = FakeRun(task, self.width, exit=Exit(cause="cancelled", error="nobody launched it"))
        unknown.running.set()
        unknown.ended.set()
        return unknown


class StartingParser(GenericParser):
    """Takes ``UP`` for a start."""

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterator[Event]:
        for line in lines:
            if line == UP.data:
                yield Started(session_id=None)
            else:
                yield from GenericParser.feed(self, [line])


@attrs.define(eq=False)
class StandingPlace(SharedPlace):
    """The same, for workers that stand: what they do tells when it has started."""

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> StartingParser:
        return StartingParser()


class Asked:
    """A plugin that does what it is given, whatever it is asked."""

    HOOK_API = 1

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    @hookimpl
    def worker_types(self) -> object:
        return self.act()

    @hookimpl
    def spawn(self) -> object:
        return self.act()

    @hookimpl
    def store_result(self) -> object:
        return self.act()


def hosts(**acts: Callable[[], object]) -> Host:
    """A host with such plugins."""
    return host_of({name: Asked(act) for name, act in acts.items()})
