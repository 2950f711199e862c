"""The contract can be broken: each promise by a plugin that keeps all the others."""

from __future__ import annotations

import json
import time

import attrs
import pytest
import trio

from mahavishnu_core import Command, WorkerStatus, WorkerType, hookimpl
from mahavishnu_core.entry_points import EntryPoint
from mahavishnu_core.errors import PluginError, UsageError
from mahavishnu_core.events import Finished, Raw, Started, Text
from mahavishnu_core.host import host_of
from mahavishnu_core.stream import ObjectParser, fields
from mahavishnu_core.testing import Sample, rows_for
from mahavishnu_core.testing.contract import rows_of
from mahavishnu_core.testing.contract.subject import Subject, open_subject, subject_of

LINES = ({"say": "hello"}, {"id": "b1e7c0de-0000-4000-8000-000000000000"}, {"say": "world"}, {"end": "done"})
OUTPUT = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
KIND = WorkerType("robot", "robot", command_template="robot", description="a robot", tells=("session",))


class RobotParser(ObjectParser):
    def read(self, data):
        if session := fields.text(data, "id"):
            return [Started(session)]
        if (words := fields.text(data, "say")) is not None:
            return [Text(words)]
        if (words := fields.text(data, "end")) is not None:
            return [Finished(True, text=words)]
        return [Raw(data)]


class Robot:
    """A plugin that keeps the contract."""

    kind = KIND
    found = (
        Sample("hello", "robot", OUTPUT, output="done"),
        Sample(
            "dies", "robot", OUTPUT[:17], "no power\n", 1, status=WorkerStatus.FAILED, reason="exit_status"
        ),
    )
    parser = RobotParser

    @hookimpl
    def worker_types(self):
        return [self.kind]

    @hookimpl
    def samples(self):
        return self.found

    @hookimpl
    def execute(self, worker, task):
        return self.command(task) if worker.type.agent == "robot" else None

    def command(self, task):
        if task.session_id.startswith("-") or not task.session_id.replace("-", "").isalnum():
            raise UsageError("the session id is none")
        return Command(("robot", *(("--resume", task.session_id) if task.resume else ())), task.prompt)

    @hookimpl
    def parse_progress(self, worker, task):
        return self.parser() if worker.type.agent == "robot" else None


def look_at(plugin: object) -> Subject:
    return subject_of(host_of({"robot": plugin}), "robot")


def broken_rows(plugin: object, *parts: str) -> dict[str, str]:
    """The rows that fail, with how; of those with one of the parts in their name, if any is given."""
    rows = [row for row in rows_of(look_at(plugin)) if not parts or any(part in row.name for part in parts)]
    assert rows
    outcomes = [row.outcome() for row in rows]
    return {str(each.row).removeprefix("robot: "): each.detail for each in outcomes if each.state == "fail"}


def test_a_plugin_that_keeps_the_contract_passes_every_row():
    outcomes = [row.outcome() for row in rows_of(look_at(Robot()))]
    assert [(str(each.row), each.detail) for each in outcomes if each.state == "fail"] == []
    assert [str(each.row) for each in outcomes if each.state == "skip"] == ["light"]  # it is not installed
    assert sum("agent" in each.row.name for each in outcomes) >= 30


class PromptAsOption(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", task.prompt), stdin="")


class PromptCut(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), stdin=task.prompt[:100])


class PromptInEnvironment(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), env={"PROMPT": task.prompt})


class AnySession(Robot):
    def command(self, task):
        return Command(("robot", *(("--resume", task.session_id) if task.resume else ())), task.prompt)


class ForgetsSession(Robot):
    def command(self, task):
        return Command(("robot",), task.prompt)


class EveryAgent(Robot):
    @hookimpl
    def execute(self, worker, task):
        return self.command(task)


class NeverTheSame(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), env={"AT": str(time.monotonic_ns())})


class NoDescription(Robot):
    kind = attrs.evolve(KIND, description="")


class NoSamples(Robot):
    found = ()


class WrongVerdict(Robot):
    found = (Robot.found[0], attrs.evolve(Robot.found[1], reason="rate_limit"))


class WrongOutput(Robot):
    found = (attrs.evolve(Robot.found[0], output="something else"),)


class TellsTooMuch(Robot):
    kind = attrs.evolve(KIND, tells=("session", "cost"))


class TellsTooLittle(Robot):
    kind = attrs.evolve(KIND, tells=())


class ByChunks(Robot):
    class parser(RobotParser):
        def feed(self, lines):
            return [Text(str(len(lines))), *super().feed(lines)]


class Fragile(Robot):
    class parser(RobotParser):
        def feed(self, lines):
            return [event for line in lines for event in self.read(line)]

        def read(self, data):
            return [Text(data["say"].upper())] if "say" in data else super().read(data)


class NoEvents(Robot):
    class parser(RobotParser):
        def feed(self, lines):
            return [*super().feed(lines), "an event"]


class AlwaysHappy(Robot):
    """Its parser takes every end for a success."""

    class parser(RobotParser):
        def end(self, exit, stderr):
            return [Finished(True, text="surely it went well")]


@pytest.mark.parametrize(
    ("plugin", "row", "word"),
    [
        (PromptAsOption, "prompt", "where the program reads options"),
        (PromptCut, "prompt", "neither in stdin nor in a word"),
        (PromptInEnvironment, "prompt", "in the environment"),
        (AnySession, "session id", "becomes a word of the command"),
        (ForgetsSession, "resume", "is the one that begins"),
        (EveryAgent, "declines", "return None for others"),
        (NeverTheSame, "command", "two different commands"),
        (NoDescription, "type", "no description"),
        (NoSamples, "samples", "no samples"),
        (WrongVerdict, "sample dies", "('failed', 'exit_status') where ('failed', 'rate_limit') is due"),
        (WrongOutput, "sample hello", "output 'done'"),
        (TellsTooMuch, "drift", "cost never seen in a sample"),
        (TellsTooLittle, "drift", "session not declared"),
        (ByChunks, "pieces", "other events when it is cut"),
        (Fragile, "absurd", "AttributeError"),
        (NoEvents, "events", "str is no event"),
    ],
)
def test_a_promise_that_is_broken_is_told(plugin, row, word):
    assert word in broken_rows(plugin(), f"robot: {row}")[row]


def test_a_parser_that_believes_every_end_is_found_out_by_programs_that_misbehave():
    found = broken_rows(AlwaysHappy(), "agent")
    assert {"agent no_result", "agent half_line", "agent forged_result", "agent error_exit_0"} <= set(found)
    assert found["agent no_result"].startswith("completed (None)")


class Forgetful:
    """A storage that forgets, and keeps twice."""

    def __init__(self):
        self.kept = []

    @hookimpl
    def store_result(self, task, result):
        return self._keep(result)

    async def _keep(self, result):
        await trio.lowlevel.checkpoint()
        self.kept.append(result)

    @hookimpl
    def search_results(self, text, limit):
        return self._find()

    async def _find(self):
        await trio.lowlevel.checkpoint()
        return self.kept[:10]


def test_a_storage_that_keeps_twice_and_forgets_is_told():
    assert broken_rows(Forgetful(), "storage: once") == {"storage: once": "found 2 times"}
    assert broken_rows(Forgetful(), "storage: many") == {"storage: many": "10 of 50 are found"}


class Raises:
    @hookimpl
    def monitor(self, event):
        event.event.text.upper()


def test_an_observer_that_cannot_take_every_event_is_told():
    assert "no attribute 'text'" in broken_rows(Raises())["observer: events"]


@pytest.mark.whole
def test_a_plugin_that_nobody_has_is_told_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"there is no plugin 'claud' \(did you mean 'claude'\?\)"):
        rows_for("claud")


def test_a_plugin_that_was_refused_says_why():
    host = host_of({})
    host.load(EntryPoint("gone", "no_such_module_at_all", "acme-gone", "1.0"))
    with pytest.raises(PluginError, match="No module named 'no_such_module_at_all'"):
        subject_of(host, "gone")


@pytest.mark.whole
def test_an_installed_plugin_is_looked_at_alone():
    subject = open_subject("shell")
    assert [plugin.name for plugin in subject.host.loaded] == ["core", "shell"]
    assert [kind.name for kind in subject.types] == ["shell"]
