"""An agent in a place without any process, for tests of the core under Trio's mock clock."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import Command, Task, Worker, WorkerType
from mahavishnu_core.stream import GenericParser
from mahavishnu_core.testing import fakes
from mahavishnu_core.testing.fakes import FakeStorage, Hang, Leave, Say, Script, app_of

__all__ = ["ANSWER", "FakePlace", "FakeStorage", "Hang", "Leave", "Say", "Script", "app_of", "text"]

ANSWER: Script = (Say({"type": "result", "result": "the answer"}), Leave())


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
