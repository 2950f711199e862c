"""The events of a task as far as its files go: those that an engine tells, whoever reads and whenever."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import Task, Worker, WorkerManager, WorkerType, hookimpl
from mahavishnu_core.app import App
from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Event, Finished, Notice, TaskEvent, Text
from mahavishnu_core.models import JSON, Exit, utc_now
from mahavishnu_core.output import events_so_far
from mahavishnu_core.pieces import open_file
from mahavishnu_core.stream import GenericParser, LinesParser
from tests.fakes import FakePlace, Leave, Say, Script, app_of, text

LINES = WorkerType("lines", "fake", "fake", progress_tracking="lines")
OBJECTS = WorkerType("objects", "fake", "fake")
FAILED = Exit(exit_code=3, ended="2026-01-01T00:00:00+00:00")


class Reader:
    """A plugin that reads the agent ``fake``, in either way."""

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> GenericParser | LinesParser:
        return LinesParser() if worker.type.name == "lines" else GenericParser()


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = app_of(tmp_path, reader=Reader())
    app.state.prepare()
    return app


def task_of(app: App, kind: WorkerType, output: bytes | None = None, ended: Exit | None = None) -> Task:
    """A task with these files."""
    worker = Worker(app.state.new_worker_id(), kind, Path("/somewhere"), utc_now())
    app.state.add_worker(worker)
    task = app.state.add_task(worker, "go", 300)
    if output is not None:
        (task.directory / "stdout.jsonl").write_bytes(output)
    if ended is not None:
        write_exit(task, ended)
    return task


def write_exit(task: Task, ended: Exit) -> None:
    (task.directory / "exit.json").write_text(json.dumps(attrs.asdict(ended)))


def events_of(app: App, task: Task) -> list[Event]:
    return list(chain.from_iterable(events_so_far(app, task)))


@pytest.mark.parametrize(("kind", "last"), [(LINES, Finished), (OBJECTS, Notice)], ids=["lines", "objects"])
async def test_the_events_are_those_that_an_engine_told_with_their_numbers(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, kind: WorkerType, last: type[Event]
) -> None:
    def script(task: Task) -> Script:
        (task.directory / "stderr.log").write_text("it cannot be done\n")
        rest = Say(b'{"type": "message", "text": "cut o')
        return [text("a"), Say(b"no object\n\n", after=1), text("b", after=1), rest, Leave(3)]

    place = FakePlace(nursery, script=script, types=(kind,))
    app = app_of(tmp_path, reader=Reader(), place=place)
    seen: list[TaskEvent] = []
    async with WorkerManager(app) as manager:
        manager.observe(seen.append)
        (worker_id,) = await manager.spawn_workers(kind.name)
        await manager.execute_task(worker_id, "go")
    task = app.state.task(f"{worker_id}.1")
    assert place.runs[0].exit is not None
    write_exit(task, place.runs[0].exit)
    assert isinstance(seen[-1].event, last)
    assert list(enumerate(events_of(app, task), 1)) == [(event.seq, event.event) for event in seen]


class Faulty(LinesParser):
    """Fails at every line."""

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> list[Event]:
        raise ValueError("it cannot read")


class FaultyReader:
    @hookimpl
    def parse_progress(self) -> Faulty:
        return Faulty()


async def test_what_a_faulty_parser_makes_of_it_is_told_alike(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    place = FakePlace(nursery, script=lambda _: [Say(b"a\nb\n"), Leave()], types=(LINES,))
    app = app_of(tmp_path, faulty=FaultyReader(), place=place)
    seen: list[TaskEvent] = []
    async with WorkerManager(app) as manager:
        manager.observe(seen.append)
        (worker_id,) = await manager.spawn_workers("lines")
        await manager.execute_task(worker_id, "go")
    task = app.state.task(f"{worker_id}.1")
    assert place.runs[0].exit is not None
    write_exit(task, place.runs[0].exit)
    told = [event.event for event in seen]
    assert isinstance(told[0], Notice)
    assert "plugin 'faulty'" in told[0].text
    assert events_of(app, task) == told


def test_of_a_line_that_is_being_written_nothing_is_told_yet(app: App) -> None:
    task = task_of(app, OBJECTS, b'{"type": "message", "text": "a"}\n{"type": "message", "te')
    assert events_of(app, task) == [Text("a")]
    with (task.directory / "stdout.jsonl").open("ab") as file:
        file.write(b'xt": "b"}\n')
    assert events_of(app, task) == [Text("a"), Text("b")]


def test_of_a_line_that_was_cut_off_it_is_told_once_the_task_has_ended(app: App) -> None:
    task = task_of(app, OBJECTS, b'{"type": "message", "te', FAILED)
    assert events_of(app, task) == [Notice("malformed", '{"type": "message", "te')]


def test_a_task_without_any_output_has_no_events(app: App) -> None:
    assert events_of(app, task_of(app, LINES)) == []


def test_a_task_that_ended_without_any_output_has_the_events_of_its_end(app: App) -> None:
    task = task_of(app, LINES, ended=FAILED)
    (task.directory / "stderr.log").write_text("it cannot be done\n")
    assert events_of(app, task) == [
        Finished(success=False, text="", error="it cannot be done", reason="exit_status")
    ]


def test_a_long_output_comes_in_pieces_and_whole(app: App) -> None:
    lines = [f"line {number}" for number in range(20_000)]
    pieces = list(events_so_far(app, task_of(app, LINES, "\n".join([*lines, ""]).encode())))
    assert len(pieces) > 1
    assert list(chain.from_iterable(pieces)) == [Text(line) for line in lines]


def test_a_task_that_no_plugin_reads_says_so(app: App) -> None:
    task = task_of(app, LINES, b"a\n")
    without = attrs.evolve(app, host=app_of(app.state.root).host)
    with pytest.raises(PluginError, match="no plugin reads the output of agent 'fake'"):
        events_of(without, task)


def test_an_output_that_may_not_be_read_is_none_to_be_read(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a command that takes our right to its own files away."""
    task = task_of(app, LINES, b"one\n")

    def refuse(path: str, *_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileNotFoundError):
        open_file(task, "stdout.jsonl")
