"""Reports of programs: events in the same place for every reader, live or afterwards, whatever is in them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import attrs
import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from mahavishnu_core import Task, Worker, WorkerManager, WorkerStatus, WorkerType, hookimpl, pieces
from mahavishnu_core.app import App
from mahavishnu_core.events import Event, Finished, Notice, Progress, TaskEvent, Text, to_dict
from mahavishnu_core.models import Exit, utc_now
from mahavishnu_core.output import TaskOutput, events_so_far, open_output
from mahavishnu_core.stream import GenericParser, LinesParser, StreamReader
from mahavishnu_core.stream.reports import read_report
from mahavishnu_core.tally import Tally
from tests.fakes import FakePlace, Leave, Say, Script, app_of

LINES = WorkerType("lines", "fake", "fake", progress_tracking="lines", idle_seconds=10)
ENDED = Exit(exit_code=0, ended="2026-01-01T00:00:00+00:00")
SOONEST = Progress("started", 0.0)


class Reader:
    @hookimpl
    def parse_progress(self) -> LinesParser:
        return LinesParser()


def written(event: Progress) -> object:
    return {"type": "progress", "message": event.message, "fraction": event.fraction}


def line_of(at: int, report: object) -> bytes:
    return b'{"at": %d, "report": %s}\n' % (at, json.dumps(report).encode())


@attrs.define(eq=False)
class Desk:
    """A task whose files are written step by step, and an engine that reads along."""

    app: App
    worker: Worker
    task: Task
    told: list[Event] = attrs.field(factory=list)
    reports: list[tuple[int, object]] = attrs.field(factory=list)
    output: TaskOutput = attrs.field(init=False)
    _held: tuple[int, int] | None = None
    """The file of whoever is writing a report, and the size of the output when it came."""

    def begin(self, *, with_reports: bool = True) -> None:
        """Everything anew, in the same directory."""
        for name in ("stdout.jsonl", "progress.jsonl", "exit.json"):
            (self.task.directory / name).unlink(missing_ok=True)
        (self.task.directory / "stdout.jsonl").touch()
        if with_reports:
            (self.task.directory / "progress.jsonl").touch()
        self.told, self.reports = [], []
        self.output = open_output(self, self.worker, self.task)

    def close(self) -> None:
        self.output.close()
        if self._held is not None:
            os.close(self._held[0])
            self._held = None

    def tell(self, task: Task, first: int, events: list[Event], plugin: str) -> None:
        """What an engine does with events."""
        assert first == len(self.told) + 1
        self.told += events

    def put_out(self, data: bytes) -> None:
        with (self.task.directory / "stdout.jsonl").open("ab") as file:
            file.write(data)

    def write(self, *lines: bytes) -> None:
        with (self.task.directory / "progress.jsonl").open("ab") as file:
            file.write(b"".join(lines))

    def begin_report(self) -> None:
        file = os.open(self.task.directory / "progress.jsonl", os.O_WRONLY | os.O_APPEND)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held = file, (self.task.directory / "stdout.jsonl").stat().st_size

    def end_report(self, report: object) -> None:
        assert self._held is not None
        file, at = self._held
        os.write(file, line_of(at, report))
        os.close(file)
        self._held = None
        self.reports.append((at, report))

    def report(self, report: object) -> None:
        self.begin_report()
        self.end_report(report)

    def half_report(self, report: object) -> None:
        """Do half of what it takes to report something."""
        if self._held is None:
            self.begin_report()
        else:
            self.end_report(report)

    def read_all(self) -> list[Event]:
        """All that an engine finds when it looks now."""
        before = len(self.told)
        while self.output.read():
            pass
        return self.told[before:]

    def end(self, ended: Exit = ENDED) -> list[Event]:
        """The command ends; all that the engine has told."""
        (self.task.directory / "exit.json").write_text(json.dumps(attrs.asdict(ended)))
        while self.output.read(ended):
            pass
        self.output.finish(ended)
        return self.told

    def afterwards(self) -> list[Event]:
        return list(chain.from_iterable(events_so_far(self.app, self.task)))

    def expected(self) -> list[Event]:
        """The events by the rule: a report comes after all lines that had ended by then."""
        data = (self.task.directory / "stdout.jsonl").read_bytes()
        reader, events, place = StreamReader(LinesParser(), "lines"), list[Event](), 0
        for at, report in self.reports:
            events += reader.feed(data[place:at])
            events.append(read_report(line_of(at, report).rstrip())[1])
            place = at
        return [*events, *reader.feed(data[place:]), *reader.end(ENDED, "")]


@pytest.fixture(scope="module")
def one_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    app = app_of(tmp_path_factory.mktemp("reports"), reader=Reader())
    app.state.prepare()
    worker = Worker(app.state.new_worker_id(), LINES, Path("/somewhere"), utc_now())
    app.state.add_worker(worker)
    return Desk(app, worker, app.state.add_task(worker, "go", 300))


@pytest.fixture
def desk(one_desk: Desk) -> Iterator[Desk]:
    one_desk.begin()
    yield one_desk
    one_desk.close()


# --- the same for every reader


STEPS = st.lists(
    st.one_of(
        st.sampled_from([b"a\n", b"word", b"\n", b"x\r", b"two\nlines\n"]) | st.binary(max_size=9),
        st.integers(0, 9).map(lambda number: {"type": "progress", "message": f"{number}"}),
        st.sampled_from(["read", "read", "read", "look", "words", None]),
    ),
    max_size=30,
)
"""What is put out, halves of reports, and looks of readers."""


@pytest.mark.thorough
@given(steps=STEPS, chunk=st.sampled_from([2, 7, 1 << 16]), bytes_in_time=st.none() | st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_reports_come_in_the_same_place_for_every_reader(
    one_desk: Desk, steps: list[object], chunk: int, bytes_in_time: int | None
) -> None:
    desk, seen = one_desk, list[list[Event]]()
    desk.begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_CHUNK", chunk)
        for step in steps:
            match step:
                case bytes():
                    desk.put_out(step)
                case "read":
                    desk.output.read()
                case "look":
                    seen.append(desk.afterwards())
                case _:
                    desk.half_report(step)
        told = desk.end(attrs.evolve(ENDED, output_bytes=bytes_in_time))
        assert told == desk.expected() == desk.afterwards()
        assert [events for events in seen if events != told[: len(events)]] == []
    desk.close()


def test_a_report_comes_after_the_lines_that_had_ended(desk: Desk) -> None:
    desk.put_out(b"one\ntw")
    desk.report(written(Progress("half", 0.5)))
    desk.put_out(b"o\n")
    assert desk.read_all() == [Text("one"), Progress("half", 0.5), Text("two")]
    desk.report(written(Progress("all", 1.0)))
    assert desk.read_all() == [Progress("all", 1.0)]
    assert desk.read_all() == []
    assert desk.end() == desk.afterwards() == desk.expected()


def test_reports_before_any_output_and_after_the_last_are_told(desk: Desk) -> None:
    desk.report(written(SOONEST))
    assert desk.read_all() == [SOONEST]
    desk.put_out(b"unfinished")
    desk.report(written(SOONEST))
    assert desk.end()[:3] == [SOONEST, SOONEST, Text("unfinished")]
    assert desk.afterwards() == desk.told


@pytest.mark.parametrize(
    ("bytes_in_time", "in_time"), [(0, 0), (20, 0), (21, 1), (41, 1), (42, 2), (None, 2)]
)
def test_it_is_known_which_results_came_in_time(desk: Desk, bytes_in_time: int | None, in_time: int) -> None:
    reader = StreamReader(GenericParser(), "stream-json")
    output = TaskOutput(desk, desk.task, "core", reader, Tally())
    ended = attrs.evolve(ENDED, output_bytes=bytes_in_time)
    for _ in range(2):
        desk.put_out(b'{"type": "result"}   ')
        desk.report(written(SOONEST))
    (desk.task.directory / "stdout.jsonl").write_bytes(b'{"type": "result"}  \n' * 2)
    while output.read(ended):
        pass
    assert (output.size, output.finish(ended).results_in_time) == (42, in_time)
    output.close()


# --- a file that is locked


def test_while_a_report_is_being_written_nothing_is_read_ahead_of_it(desk: Desk) -> None:
    desk.report(written(SOONEST))
    desk.put_out(b"one\n")
    desk.report(written(SOONEST))
    desk.begin_report()
    desk.put_out(b"two\n")
    assert desk.read_all() == desk.afterwards() == [SOONEST, Text("one"), SOONEST]
    desk.end_report(written(Progress("between")))
    assert desk.read_all() == [Progress("between"), Text("two")]


def test_after_the_end_all_is_read_whoever_holds_the_lock(desk: Desk) -> None:
    desk.begin_report()
    desk.put_out(b"one\n")
    assert desk.read_all() == []
    assert desk.end() == desk.afterwards() == [Text("one"), Finished(success=True, text="one")]


def test_no_lock_is_held_after_a_look(desk: Desk) -> None:
    desk.put_out(b"one\n")
    desk.read_all()
    desk.begin_report()  # raises where there is one


# --- tasks without reports


def test_a_task_without_reports_is_asked_for_them_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_file(task: Task, name: str) -> int:
        opened.append(name)
        return os.open(task.directory / name, os.O_RDONLY)

    desk.close()
    desk.begin(with_reports=False)
    monkeypatch.setattr(pieces, "open_file", open_file)
    monkeypatch.setattr(fcntl, "flock", None)
    for number in range(3):
        desk.put_out(b"%d\n" % number)
        desk.read_all()
    assert opened == ["stdout.jsonl", "progress.jsonl"]
    assert desk.end()[:3] == [Text("0"), Text("1"), Text("2")]


def test_a_link_in_the_place_of_the_reports_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    progress = desk.task.directory / "progress.jsonl"
    progress.unlink()
    (tmp_path / "elsewhere").write_bytes(line_of(0, written(SOONEST)))
    progress.symlink_to(tmp_path / "elsewhere")
    desk.put_out(b"said\n")
    desk.read_all()
    assert desk.end()[:1] == [Text("said")]


# --- files that are not as they should be


def test_a_torn_last_line_is_left_out(desk: Desk) -> None:
    desk.write(line_of(0, written(SOONEST)), b'{"at": 0, "rep')
    assert desk.end()[:-1] == [SOONEST]
    assert desk.afterwards() == desk.told


@pytest.mark.parametrize("places", [(99, 2), (10**17, 10**17), (4, 0), (99, 99, 0, 4), (10**30, 4)])
def test_a_place_that_cannot_be_is_now_and_nothing_is_lost(desk: Desk, places: Sequence[int]) -> None:
    desk.put_out(b"one\ntwo\n")
    desk.write(*(line_of(place, written(SOONEST)) for place in places))
    texts = [Text("one"), Text("two")]
    for events in (desk.read_all(), desk.afterwards()):
        assert [event for event in events if event != SOONEST] == texts
        assert len(events) == len(places) + 2
    desk.put_out(b"three\n")
    desk.report(written(Progress("later")))
    assert desk.read_all() == [Text("three"), Progress("later")]
    assert len(desk.end()) == len(desk.afterwards()) == len(places) + 5


def test_output_that_is_cut_loses_no_report(desk: Desk) -> None:
    desk.put_out(b"one\n")
    assert desk.read_all() == [Text("one")]
    desk.put_out(b"two\n")
    desk.report(written(SOONEST))
    os.truncate(desk.task.directory / "stdout.jsonl", 2)
    assert desk.read_all() == [SOONEST]
    desk.report(written(Progress("last")))
    assert desk.end()[:-1] == [Text("one"), SOONEST, Progress("last")]


# --- what is in a report


def read(report: bytes) -> Event:
    place, event = read_report(b'{"at": 3, "report": %s}' % report)
    assert place == 3
    return event


@pytest.mark.parametrize(
    ("report", "event"),
    [
        ({"type": "progress"}, Progress()),
        ({"type": "progress", "message": "x", "fraction": 0.4, "more": [1]}, Progress("x", 0.4)),
        ({"type": "progress", "message": None, "fraction": None}, Progress()),
        ({"type": "progress", "message": "m" * 5000}, Progress("m" * 1000)),
        ({"type": "progress", "message": "\x1b[2J\0\u202e"}, Progress("\x1b[2J\0\u202e")),
        ({"type": "progress", "message": "\ud83d"}, Progress("\ufffd")),
        *(
            ({"type": "progress", "fraction": fraction}, Progress("", told))
            for fraction, told in [
                (0, 0.0),
                (1, 1.0),
                (1.01, None),
                (-0.1, None),
                (10**400, None),
                (True, None),
            ]
        ),
        *(
            ({"type": "progress", "fraction": fraction}, Progress())
            for fraction in (float("nan"), float("inf"), "0.5", [0.5], {}, 10**20)
        ),
    ],
)
def test_a_report_of_progress_is_an_event(report: object, event: Event) -> None:
    assert read(json.dumps(report).encode()) == event


@pytest.mark.parametrize(
    "report",
    [
        *(None, True, 5, "words", [], [{"type": "progress"}], {}, {"type": "result"}, {"type": ["progress"]}),
        *({"type": "progress", "message": message} for message in (5, ["x"], {"a": "b"}, True)),
        {"type": "x" * 10_000},
    ],
    ids=lambda report: str(report)[:40],
)
def test_any_other_report_is_malformed(report: object) -> None:
    event = read(json.dumps(report).encode())
    assert isinstance(event, Notice)
    assert event.kind == "malformed"
    assert event.text.startswith("this is no report of progress: ")
    assert len(event.text) < 300


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"type":' * 5000, b"9" * 50_000, b"}"]))
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_report_can_raise_or_change_its_place(report: bytes) -> None:
    event = read(report)
    assert isinstance(event, Notice | Progress)
    orjson.dumps(to_dict(TaskEvent("w", "w.1", 1, event)))


def test_a_line_of_another_form_is_malformed(desk: Desk) -> None:
    desk.write(b"\n", b"[]\n", b'{"report": 1, "at": 2}\n')
    assert [type(event) for event in desk.read_all()] == [Notice, Notice, Notice]


def test_a_report_beyond_all_bounds_is_left_out_alone(desk: Desk) -> None:
    desk.put_out(b"one\n")
    desk.write(line_of(0, {"type": "progress", "message": "m" * (1 << 21)}), line_of(4, written(SOONEST)))
    notice, *others = desk.read_all()
    assert isinstance(notice, Notice)
    assert len(notice.text) < 300
    assert others == [Text("one"), SOONEST]


# --- what they count for


def test_a_tally_counts_them_and_takes_them_for_activity_alone() -> None:
    plain = Tally()
    plain.add([Text("a piece", partial=True)])
    tally = Tally()
    tally.add([Text("a piece", partial=True), Progress("compiling", 0.4)])
    assert (tally.events, tally.activity) == (2, "compiling (40%)")
    assert tally.text == plain.text
    tally.add([Progress()])
    assert (tally.events, tally.activity) == (3, "compiling (40%)")
    tally.add([Progress(fraction=1.0)])
    assert tally.activity == "100%"


async def test_a_task_that_reports_is_not_idle(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    async def report(file: Path) -> None:
        for number in range(1, 5):
            await trio.sleep(8)
            with file.open("ab") as progress:
                progress.write(line_of(0, written(Progress(fraction=number / 5))))

    def script(task: Task) -> Script:
        (task.directory / "progress.jsonl").touch()
        nursery.start_soon(report, task.directory / "progress.jsonl")
        return [Say(b"done\n", after=36), Leave()]

    app = app_of(tmp_path, reader=Reader(), place=FakePlace(nursery, script=script, types=(LINES,)))
    seen: list[Event] = []
    async with WorkerManager(app) as manager:
        manager.observe(lambda item: seen.append(item.event))
        (worker_id,) = await manager.spawn_workers("lines")
        result = await manager.execute_task(worker_id, "go")
    assert result.status is WorkerStatus.COMPLETED
    assert seen[:5] == [*(Progress(fraction=number / 5) for number in range(1, 5)), Text("done")]
