"""The debug log: a line for everything that happens, safe to look at, and never in the way of a task."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager, WorkerType, debug_log
from mahavishnu_core.debug_log import MOST_BYTES, DebugLog, Entry, last_line, path_in, start_of_run
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.records import this_engine
from tests.fakes import ANSWER, UP, FakePlace, FakeStorage, Hang, Leave, Say, StandingPlace, app_of, text


def lines_of(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path_in(directory).read_bytes().split(b"\n")[:-1]]


async def debugged(directory: Path, *prompts: str, **plugins: object) -> list[dict[str, object]]:
    """The log of a run of these prompts, by a worker each."""
    app = attrs.evolve(app_of(directory, **plugins), debug=True)
    async with WorkerManager(app) as manager:
        ids = await manager.spawn_workers("fake", len(prompts))
        await manager.execute_batch(ids, prompts)
    return lines_of(app.state.root)


@pytest.fixture
async def place(nursery: trio.Nursery) -> FakePlace:
    return FakePlace(nursery)


async def test_each_line_says_when_who_and_what(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    place.script = lambda _: (Say({"type": "message", "text": "at work"}), *ANSWER)
    lines = await debugged(tmp_path, "Go", fake=place, store=FakeStorage())
    assert all({"time", "worker", "task", "event", "plugin", "engine"} <= line.keys() for line in lines)
    assert {line["engine"] for line in lines} == {os.getpid()}
    assert [line["time"] for line in lines] == sorted(str(line["time"]) for line in lines)
    worker = next(line["worker"] for line in lines if line["event"] == "spawn")
    of_task = [(line["event"], line["plugin"]) for line in lines if line["task"] == f"{worker}.1"]
    assert of_task == [
        ("task_given", None),
        ("command", "fake"),
        ("launch", "fake"),
        ("task_started", None),
        ("text", "fake"),
        ("finished", "fake"),
        ("task_ended", None),
        ("stored", "store"),
    ]
    assert [line["event"] for line in lines if line["task"] is None] == [
        "engine_opened",
        "plugin_loaded",
        "plugin_loaded",
        "spawn",
        "engine_closed",
    ]


async def test_without_debugging_there_is_no_log(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    app = app_of(tmp_path, fake=place)
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        await manager.execute_task(worker_id, "Go")
    assert not path_in(app.state.root).exists()


async def test_what_fails_is_there_with_its_reason(place: FakePlace, tmp_path: Path) -> None:
    # by the real clock: an observer has a thread
    class Broken:
        @hookimpl
        def monitor(self, event: object) -> None:
            raise ValueError("I never look on")

    place.script = lambda task: (text("so"), Leave(3)) if task.prompt == "fail" else ANSWER
    lines = await debugged(
        tmp_path, "fail", "raise", fake=place, broken=Broken(), store=FakeStorage(broken=True)
    )
    found = {line["event"]: line for line in lines}
    assert found["hook_cut_off"]["plugin"] == "broken"
    assert "I never look on" in str(found["hook_cut_off"]["reason"])
    assert found["not_stored"]["reason"] == "OSError: no space left"
    errors = {str(line["error"]) for line in lines if line["event"] == "task_ended"}
    assert any("exit status 3" in error for error in errors)
    assert any("the agent is broken" in error for error in errors)


async def test_a_prompt_can_forge_no_line_and_move_no_terminal(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    evil = 'a\n{"event": "forged"}\r\x1b[2J\x9b31m\u202e\u2028\udc80 ü 漢"\\'
    place.script = lambda task: (Say({"type": "message", "text": evil.replace("\udc80", "")}), *ANSWER)
    lines = await debugged(tmp_path, evil, fake=place)
    assert "forged" not in {line["event"] for line in lines}
    assert [line["prompt"] for line in lines if line["event"] == "command"] == [evil]
    raw = path_in(tmp_path / "state").read_text()
    assert all(character == "\n" or character.isprintable() for character in raw)
    assert "ü 漢" in raw


async def test_secrets_are_taken_out_wherever_they_stand(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hush-hush-hush")
    kind = WorkerType("fake", "fake", "fake", env={"MY_TOKEN": "quiet-quiet-quiet"})
    place.types = (kind,)
    call = {"type": "tool_use", "id": "1", "name": "t", "input": {"deep": [{"hush-hush-hush": "x"}]}}
    pieces = ["quiet-qui", "et-quiet"]
    place.script = lambda _: (
        Say({"type": "message", "content": [call]}),
        *(Say({"delta": {"content": piece}}) for piece in pieces),
        *ANSWER,
    )
    prompt = "x" * 495 + "hush-hush-hush and quiet-quiet-quiet"
    await debugged(tmp_path, prompt, fake=place)
    raw = path_in(tmp_path / "state").read_text()
    assert "hush" not in raw
    assert "quiet" not in raw


async def test_long_texts_are_cut_and_it_is_said(
    autojump_clock: MockClock, place: FakePlace, tmp_path: Path
) -> None:
    deep: object = "bottom"
    for _ in range(900):
        deep = [deep]
    place.script = lambda _: (
        Say({"type": "unheard_of", "deep": deep, "wide": list(range(1000)), "long": "y" * 10_000}),
        *ANSWER,
    )
    lines = await debugged(tmp_path, "z" * 700, fake=place)
    (command,) = [line for line in lines if line["event"] == "command"]
    assert command["prompt"] == "z" * 500 + "… (+200 characters)"
    assert max(map(len, path_in(tmp_path / "state").read_text().splitlines())) < 4000


def test_one_line_has_a_bound_whatever_is_in_it(tmp_path: Path) -> None:
    tree: object = "x" * 490
    for _ in range(4):
        tree = [tree] * 12
    log_in(tmp_path).write(Entry("one", facts={"tree": tree}))
    (line,) = lines_of(tmp_path)
    assert len(path_in(tmp_path).read_text()) < 10_000
    assert (line["event"], line["characters"] > 1_000_000) == ("one", True)
    assert str(line["begins"]).startswith('{"tree": [[[["xxx')


async def test_what_a_standing_worker_puts_out_is_not_logged(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    place = StandingPlace(nursery, types=(WorkerType("fake", "fake", "fake", standing=True),))
    place.script = lambda _: (text("a line of the log"), UP, Hang())
    app = attrs.evolve(app_of(tmp_path, fake=place), debug=True)
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        with trio.move_on_after(10):
            await manager.follow([worker_id])
        await manager.close_worker(worker_id)
    assert "a line of the log" not in path_in(app.state.root).read_text()


# --- the file


def log_in(directory: Path) -> DebugLog:
    return DebugLog.open(directory, ())


def events_in(directory: Path) -> list[object]:
    return [line["event"] for line in lines_of(directory)]


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    log_in(tmp_path).write(Entry("one"))
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600


def test_it_may_be_moved_away_at_any_moment(tmp_path: Path) -> None:
    log, other = log_in(tmp_path), log_in(tmp_path)
    log.write(Entry("one"))
    path_in(tmp_path).rename(tmp_path / "old")
    log.write(Entry("two"))
    other.write(Entry("three"))
    assert events_in(tmp_path) == ["two", "three"]


def test_a_long_one_is_set_aside_when_an_engine_opens_it(tmp_path: Path) -> None:
    path_in(tmp_path).write_bytes(b"x" * (MOST_BYTES + 1))
    log_in(tmp_path).write(Entry("one"))
    assert events_in(tmp_path) == ["one"]
    assert (tmp_path / "debug.jsonl.1").stat().st_size == MOST_BYTES + 1


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    path_in(tmp_path).symlink_to(tmp_path / "precious")
    log_in(tmp_path).write(Entry("one"))
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_cannot_be_written_is_counted_and_said_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real = log_in(tmp_path), os.write
    log.write(Entry("one"))
    monkeypatch.setattr(debug_log.os, "write", lambda fd, data: real(fd, data[: len(data) // 2 + 10]))
    log.write(Entry("two"), Entry("three"))

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(debug_log.os, "write", full)
    log.write(Entry("four"))
    monkeypatch.setattr(debug_log.os, "write", real)
    log.write(Entry("five"))
    log.write(Entry("six"))
    whole, torn = [], []
    for line in path_in(tmp_path).read_text().splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            torn.append(line)
    assert [line["event"] for line in whole] == ["one", "two", "lines_lost", "five", "six"]
    assert (whole[2]["lines"], len(torn)) == (2, 1)


@pytest.mark.parametrize(
    ("content", "line"), [(None, ""), ("", ""), ("half", ""), ("one\n", "one"), ("one\ntwö\nhalf", "twö")]
)
def test_its_last_whole_line(tmp_path: Path, content: str | None, line: str) -> None:
    if content is not None:
        path_in(tmp_path).write_text(content)
    assert last_line(path_in(tmp_path)) == line


# --- where a run begins


def opening(**changes: int) -> Entry:
    """Of this process, unless it is said to be another's."""
    return Entry("engine_opened", facts={"process": {**this_engine(os.getpid()), **changes}})


def test_a_run_begins_where_the_latest_living_engine_was_opened(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.write(opening(), Entry("one"))
    size = path_in(tmp_path).stat().st_size
    log.write(opening(), Entry("two"), opening(pid=1 << 22), opening(start_time=1))
    with path_in(tmp_path).open("a") as file:
        file.write('{"event": "engine_opened"}\n"engine_opened"\n{"engine_opened\n')
    assert start_of_run(path_in(tmp_path)) == size


def test_without_a_living_engine_it_begins_at_the_end(tmp_path: Path) -> None:
    assert start_of_run(path_in(tmp_path)) == 0
    log_in(tmp_path).write(Entry("one"))
    assert start_of_run(path_in(tmp_path)) == path_in(tmp_path).stat().st_size


def test_a_run_is_found_however_far_back_it_began(tmp_path: Path) -> None:
    with path_in(tmp_path).open("ab") as file:
        file.write(b"x" * 99 + b"\n")
    log_in(tmp_path).write(opening())
    with path_in(tmp_path).open("ab") as file:
        file.write((b"x" * 1023 + b"\n") * 5000)
    assert start_of_run(path_in(tmp_path)) == 100


@pytest.mark.parametrize("what", ["fifo", "directory", "link"])
def test_what_is_no_file_is_no_log_and_holds_nobody_up(tmp_path: Path, what: str) -> None:
    if what == "fifo":
        os.mkfifo(path_in(tmp_path))
    elif what == "directory":
        path_in(tmp_path).mkdir()
    else:
        path_in(tmp_path).symlink_to(tmp_path)
    log = log_in(tmp_path)
    log.write(Entry("one"))
    assert (log.lost, start_of_run(log.path), last_line(log.path)) == (1, 0, "")
