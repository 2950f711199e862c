"""The contract can be broken: each promise by a plugin that keeps all the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import attrs
import pytest
import trio

from mahavishnu_core import Command, WorkerStatus, WorkerType, hookimpl, host
from mahavishnu_core.entry_points import EntryPoint
from mahavishnu_core.errors import PluginError, UsageError
from mahavishnu_core.events import Finished, Raw, Started, Text
from mahavishnu_core.host import host_of
from mahavishnu_core.models import Backlog
from mahavishnu_core.stream import LinesParser, ObjectParser, fields
from mahavishnu_core.testing import Sample, rows_for
from mahavishnu_core.testing.contract import rows_of
from mahavishnu_core.testing.contract.row import Outcome
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


def outcomes_of(plugin: object, *parts: str) -> dict[str, Outcome]:
    """What the rows come to, or those with one of the parts in their name, if any is given."""
    rows = [row for row in rows_of(look_at(plugin)) if not parts or any(part in row.name for part in parts)]
    assert rows
    return {row.name.removeprefix("robot: "): row.outcome() for row in rows}


def broken_rows(plugin: object, *parts: str) -> dict[str, str]:
    """The rows that fail, with how."""
    outcomes = outcomes_of(plugin, *parts)
    return {name: outcome.detail for name, outcome in outcomes.items() if outcome.state == "fail"}


@pytest.fixture
def impatient(monkeypatch):
    """Plugin code is cut off as ever, but soon."""
    monkeypatch.setattr(host, "HOOK_LIMIT", 0.2)


@pytest.mark.contract
def test_a_plugin_that_keeps_the_contract_passes_every_row():
    outcomes = [row.outcome() for row in rows_of(look_at(Robot()))]
    assert [(str(each.row), each.detail) for each in outcomes if each.state == "fail"] == []
    assert [str(each.row) for each in outcomes if each.state == "skip"] == ["light"]  # it is not installed
    assert sum("agent" in each.row.name for each in outcomes) >= 30


class PromptAsOption(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", task.prompt), stdin="")


class PromptBehindFlag(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", "--json", task.prompt), stdin="")


class PromptAsProgram(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=(task.prompt,), stdin="")


class PromptCut(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), stdin=task.prompt[:100])


class PromptInEnvironment(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), env={"PROMPT": task.prompt})


class AnySession(Robot):
    def command(self, task):
        return Command(("robot", *(("--resume", task.session_id) if task.resume else ())), task.prompt)


class SessionAsPath(Robot):
    def command(self, task):
        return Command(("robot", f"--dir=/sessions/{task.session_id}"), task.prompt)


class SessionAsPathOfOption(Robot):
    def command(self, task):
        return Command(("robot", f"--resume={task.session_id}"), task.prompt)


class SessionInEnvironment(Robot):
    def command(self, task):
        return Command(("robot",), task.prompt, env={"SESSION": f"id {task.session_id}"})


class SessionInPassed(Robot):
    def command(self, task):
        return Command(("robot",), task.prompt, pass_env=(f"{task.session_id}_*",))


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
    found = (Robot.found[0], attrs.evolve(Robot.found[1], reason="rate_limited"))


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


class Exits(Robot):
    """Its parser ends the program where a text is no object."""

    class parser(RobotParser):
        def feed(self, lines):
            if "words" in lines:
                sys.exit(0)
            return super().feed(lines)


class ExitsAtEnd(Robot):
    class parser(RobotParser):
        def end(self, exit, stderr):
            sys.exit(0)


class LinesOnly(Robot):
    """A parser of plain text that cannot take an empty line."""

    kind = attrs.evolve(KIND, progress_tracking="lines", tells=())

    class parser(LinesParser):
        def feed(self, lines):
            return [Text(line) for line in lines if line[0]]


class OffersNumber(Robot):
    @hookimpl
    def worker_types(self):
        return 5


class OffersDicts(Robot):
    @hookimpl
    def worker_types(self):
        return [{"name": "robot"}]


class OffersFiles(Robot):
    @hookimpl
    def samples(self):
        yield from (*self.found, "hello.json")


class StraySample(Robot):
    found = (*Robot.found, attrs.evolve(Robot.found[0], worker_type="robbot"))


class AlwaysHappy(Robot):
    """Its parser takes every end for a success."""

    class parser(RobotParser):
        def end(self, exit, stderr):
            return [Finished(True, text="surely it went well")]


@pytest.mark.parametrize(
    ("plugin", "row", "word"),
    [
        (PromptAsOption, "prompt", "where the program reads options"),
        (PromptBehindFlag, "prompt", "where the program reads options"),
        (PromptAsProgram, "prompt", "where the program reads options"),
        (PromptCut, "prompt", "neither in stdin nor in a word"),
        (PromptInEnvironment, "prompt", "in the environment"),
        (AnySession, "session id", "becomes a word of the command"),
        (SessionAsPath, "session id", "is a part of the word '--dir=/sessions/"),
        (SessionAsPathOfOption, "session id", "is a part of the word '--resume=../../etc/passwd'"),
        (SessionInEnvironment, "session id", "in the environment of the command"),
        (SessionInPassed, "session id", "in the environment of the command"),
        (ForgetsSession, "resume", "is the one that begins"),
        (EveryAgent, "declines", "return None for others"),
        (NeverTheSame, "command", "two different commands"),
        (NoDescription, "type", "no description"),
        (NoSamples, "samples", "no samples"),
        (WrongVerdict, "sample dies", "('failed', 'exit_status') where ('failed', 'rate_limited') is due"),
        (WrongOutput, "sample hello", "output 'done'"),
        (TellsTooMuch, "drift", "cost never seen in a sample"),
        (TellsTooLittle, "drift", "session not declared"),
        (ByChunks, "pieces", "other events when it is cut"),
        (Fragile, "absurd", "AttributeError"),
        (NoEvents, "events", "str is no event"),
        (Exits, "absurd", "SystemExit: 0 on 'words'"),
        (ExitsAtEnd, "absurd", "SystemExit: 0"),
        (LinesOnly, "absurd", "IndexError"),
    ],
)
def test_a_promise_that_is_broken_is_told(plugin, row, word):
    assert word in broken_rows(plugin(), f"robot: {row}")[row]


@pytest.mark.parametrize(
    ("plugin", "word"),
    [
        (OffersNumber, "worker_types offers 5"),
        (OffersDicts, "worker_types offers {'name': 'robot'}"),
        (OffersFiles, "samples offers 'hello.json'"),
        (StraySample, "samples of 'robbot', a type that it does not offer"),
    ],
)
def test_an_offer_that_is_none_is_told(plugin, word):
    assert word in broken_rows(plugin(), "declared")["declared"]


def test_the_status_of_a_sample_may_be_a_plain_word():
    assert Sample("hello", "robot", OUTPUT, status="failed").status is WorkerStatus.FAILED


class PromptAsValue(Robot):
    word = "-c"

    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", self.word, task.prompt), stdin="")


class PromptInWord(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", f"--say={task.prompt}"), stdin="")


class PromptSetApart(Robot):
    def command(self, task):
        return attrs.evolve(super().command(task), argv=("robot", "--headless", "--", task.prompt), stdin="")


class SessionAsValue(Robot):
    def command(self, task):
        if "/" in task.session_id:
            raise UsageError("the session id is none")
        return Command(("robot", "--no-x-at-all", f"--resume={task.session_id}"), task.prompt)


@pytest.mark.parametrize("plugin", [PromptInWord, PromptSetApart, SessionAsValue])
def test_a_command_in_which_nothing_can_be_an_option_passes(plugin):
    assert broken_rows(plugin(), "prompt", "session id") == {}


def test_that_an_option_takes_the_prompt_for_its_value_is_said_where_it_is_taken_on_trust():
    outcome = outcomes_of(PromptAsValue(), "prompt")["prompt"]
    assert (outcome.state, "the value of -c" in outcome.detail) == ("pass", True)


class HangsOnSamples(Robot):
    class parser(RobotParser):
        def read(self, data):
            while "say" in data:
                pass
            return super().read(data)


class HangsOnText(Robot):
    class parser(RobotParser):
        def feed(self, lines):
            while "words" in lines:
                pass
            return super().feed(lines)


def test_a_parser_that_hangs_on_a_sample_is_told_by_every_row_that_needs_it(impatient):
    found = broken_rows(HangsOnSamples())
    assert {"sample hello", "drift", "pieces", "events", "idle", "agent good"} <= set(found)
    assert all("it did not come back for 0.2 s" in found[row] for row in ("sample hello", "agent good"))


def test_a_parser_that_hangs_on_another_line_is_told_by_the_row_that_has_it(impatient):
    found = broken_rows(HangsOnText(), "pieces", "absurd", "events", "idle")
    assert list(found) == ["absurd"]
    assert "it did not come back for 0.2 s on 'words'" in found["absurd"]


class OnlyObjects(Robot):
    """To its parser, what is no object is nothing."""

    class parser(RobotParser):
        def feed(self, lines):
            return super().feed([line for line in lines if isinstance(line, dict)])


def test_a_parser_that_passes_over_plain_text_keeps_the_wall_limit():
    assert broken_rows(OnlyObjects(), "timeout") == {}


class WantsEverything(Robot):
    """Its program is given the whole environment of the caller."""

    def command(self, task):
        return attrs.evolve(super().command(task), pass_env=("*",))


@pytest.mark.contract
def test_an_agent_whose_program_is_given_what_is_none_of_its_is_told(monkeypatch):
    monkeypatch.setenv("SOMEBODYS_TOKEN", "my own")
    before = dict(os.environ)
    assert broken_rows(WantsEverything(), "agent") == {
        "agent leak_env": "its program was given a variable that is none of its: narrow Command.pass_env"
    }
    assert os.environ == before


@pytest.mark.contract
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


class Keeps:
    """A storage that gives back what ``given`` makes of what it keeps."""

    def __init__(self, given):
        self.kept = {}
        self.given = given

    @hookimpl
    def store_result(self, task, result):
        return self._keep(task.task_id, result)

    async def _keep(self, task_id, result):
        await trio.lowlevel.checkpoint()
        self.kept[task_id] = result

    @hookimpl
    def search_results(self, text, limit):
        return self._find()

    async def _find(self):
        await trio.lowlevel.checkpoint()
        return [self.given(result) for result in self.kept.values()]


def escaped(text):
    return text and text.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("status", lambda result: WorkerStatus.CANCELLED),
        ("output", lambda result: result.output[:50]),
        ("output", lambda result: result.output.replace("\0", "")),
        ("error", lambda result: "another"),
        ("exit_code", lambda result: str(result.exit_code)),
        ("metadata", lambda result: {}),
        ("metadata", lambda result: {**result.metadata, "usage": {"input_tokens": float(2**60 + 1)}}),
    ],
)
def test_a_storage_that_gives_back_something_else_is_told(name, change):
    plugin = Keeps(lambda result: attrs.evolve(result, **{name: change(result)}))
    assert f"its {name} is found as" in broken_rows(plugin, "storage: odd")["storage: odd"]


def test_a_storage_may_write_characters_that_utf_8_has_not_in_its_own_way():
    plugin = Keeps(
        lambda result: attrs.evolve(result, output=escaped(result.output), error=escaped(result.error))
    )
    assert broken_rows(plugin, "storage") == {}


class CannotSearch:
    @hookimpl
    def store_result(self, result):
        return self._forget()

    async def _forget(self):
        await trio.lowlevel.checkpoint()


def test_a_storage_that_cannot_search_is_not_said_to_have_kept_anything():
    outcomes = outcomes_of(CannotSearch(), "storage")
    assert {outcome.state for outcome in outcomes.values()} == {"skip"}
    assert {outcome.detail for outcome in outcomes.values()} == {"it cannot search, so nobody can look"}


class Sends(CannotSearch):
    """A storage that says of what waits what it is given."""

    def __init__(self, told):
        self.told = told

    @hookimpl
    def backlog(self):
        return None if self.told is None else self._tell()

    async def _tell(self):
        await trio.lowlevel.checkpoint()
        return self.told


@pytest.mark.parametrize(
    ("told", "state", "detail"),
    [
        ([Backlog("robot", 1)], "pass", "1 of 1"),
        ([], "pass", "0 of 1"),
        (None, "skip", "it declines"),
        (["one"], "fail", "gives ['one'] where a Backlog is due"),
        ([Backlog("robot", "one")], "fail", "counts ['one']"),
        ([Backlog("robot", -1)], "fail", "counts [-1]"),
        (3, "fail", "a hook gave int where Sequence is due"),
    ],
)
def test_a_storage_has_to_say_what_waits_in_it(told, state, detail):
    outcome = outcomes_of(Sends(told), "storage: backlog")["storage: backlog"]
    assert (outcome.state, detail in outcome.detail) == (state, True)


class Elsewhere:
    """A place, commands, tools, a search and an agent without a type: there are no rows for any of them."""

    @hookimpl
    def spawn(self, worker): ...

    @hookimpl
    def launch(self, worker): ...

    @hookimpl
    def close(self, worker): ...

    @hookimpl
    def register_commands(self, cli): ...

    @hookimpl
    def register_tools(self, server): ...

    @hookimpl
    def search_results(self, text): ...

    @hookimpl
    def execute(self, worker): ...

    @hookimpl
    def parse_progress(self, worker): ...

    @hookimpl
    def place_options(self, place): ...


def test_a_hook_that_nobody_looks_at_is_said_not_to_be_looked_at():
    plugin = Elsewhere()
    outcomes = outcomes_of(plugin)
    hooks = {name.rpartition(" ")[2] for name, outcome in outcomes.items() if outcome.state == "skip"}
    assert hooks == {*look_at(plugin).hooks, "light"}
    assert "there are no rows for places yet" in outcomes["place: launch"].detail


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


LEFT = """
from mahavishnu_core.keeper.family import Process
from mahavishnu_core.testing import fixtures

def test_it(monkeypatch, nothing_left):  # which looks while the patch is still there
    gone = Process(pid=2**30, parent=1, session=1, is_zombie=False, start=0, name="sleep")
    monkeypatch.setattr(fixtures, "wait_until_gone", lambda find, seconds: [gone])
"""


@pytest.mark.thorough
def test_a_process_that_goes_at_last_is_still_named_as_left(tmp_path):
    test = tmp_path / "test_left.py"
    test.write_text(LEFT)
    command = [sys.executable, "-m", "pytest", "-q", "-pmahavishnu_core.testing.fixtures", str(test)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert f"left running: {2**30} sleep" in done.stdout
