"""The event log: the newest events in memory, all others from the files, each in words."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from mahavishnu_core import Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.events import (
    Event,
    Finished,
    Notice,
    Oversize,
    Progress,
    Raw,
    Started,
    TaskEvent,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.models import utc_now
from mahavishnu_mcp import events as events_module
from mahavishnu_mcp.events import EventLog

KEPT, TASKS = 5, 3


@attrs.define
class Shelf:
    """A task, the events in its file, and the log that is under test."""

    log: EventLog
    task: Task
    in_file: list[Event]
    readings: int = 0

    def told(self, *numbers: int) -> None:
        """The log is told these events, as by whoever reads along."""
        for seq in numbers:
            self.log.add(TaskEvent("w", self.task.task_id, seq, self.in_file[seq - 1]))

    def ended(self, events: int) -> None:
        """The task ends, and whoever settled it had seen so many events."""
        metadata = {"task_id": self.task.task_id, "evidence": {"events": events}}
        result = WorkerResult(self.task.worker_id, WorkerStatus.COMPLETED, metadata=metadata)
        self.log.app.state.settle(self.task, result)

    async def since(self, after: int, limit: int = 1000) -> list[int]:
        return [happening.seq for happening in await self.log.since(self.task, after, limit)]

    async def newest(self, after: int, most: int) -> list[int]:
        return [happening.seq for happening in await self.log.newest(self.task, after, most)]


@pytest.fixture
async def shelf(fake_app, monkeypatch) -> Shelf:
    monkeypatch.setattr(events_module, "_KEPT", KEPT)
    monkeypatch.setattr(events_module, "_TASKS", TASKS)
    state = fake_app.state
    state.prepare()
    worker = Worker(state.new_worker_id(), WorkerType("fake", "fake", "fake"), Path("/repo"), utc_now())
    state.add_worker(worker)
    task = state.add_task(worker, "go", 300)
    shelf = Shelf(EventLog(fake_app), task, [Text(f"{number}") for number in range(1, 21)])

    def read(app, task):
        shelf.readings += 1
        yield shelf.in_file[:7]
        yield shelf.in_file[7:]

    monkeypatch.setattr(events_module, "events_so_far", read)
    return shelf


@pytest.mark.parametrize("after", [0, 14, 15, 19, 20, 99])
@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_it_does_not_matter_from_where_they_come(autojump_clock, shelf, after, limit):
    from_file = await shelf.since(after, limit)
    shelf.told(*range(1, 21))
    assert await shelf.since(after, limit) == from_file == list(range(1, 21))[after : after + limit]


async def test_the_newest_are_not_read_again(autojump_clock, shelf):
    shelf.told(*range(1, 21))
    assert await shelf.since(15) == [16, 17, 18, 19, 20]
    assert await shelf.since(20) == []
    assert shelf.readings == 0
    assert await shelf.since(14) == [15, 16, 17, 18, 19, 20]
    assert shelf.readings == 1


@pytest.mark.parametrize("after", [0, 14, 17, 19, 20, 99])
@pytest.mark.parametrize("most", [1, KEPT, KEPT + 1, 1000])
async def test_the_last_ones_are_the_same_from_memory_and_from_the_file(autojump_clock, shelf, after, most):
    from_file = await shelf.newest(after, most)
    shelf.told(*range(1, 21))
    assert await shelf.newest(after, most) == from_file == list(range(1, 21))[after:][-most:]


async def test_for_the_last_ones_nothing_is_read_that_is_in_memory(autojump_clock, shelf):
    shelf.told(*range(1, 21))
    for after in range(20):
        await shelf.newest(after, KEPT)
    assert shelf.readings == 0


async def test_one_who_comes_late_reads_what_was_before(autojump_clock, shelf):
    shelf.told(18, 19, 20)
    assert await shelf.since(17) == [18, 19, 20]
    assert shelf.readings == 0
    assert await shelf.since(0) == list(range(1, 21))


async def test_a_task_that_is_read_once_more_from_its_start_brings_none_twice(autojump_clock, shelf):
    shelf.told(1, 2, 3)
    shelf.told(1, 2, 3, 4)
    assert await shelf.since(0) == [1, 2, 3, 4]


async def test_pieces_have_numbers_and_are_not_told(autojump_clock, shelf):
    shelf.in_file[:] = [Text("a", partial=True), Text("ab"), Thinking("c", partial=True), Thinking("cd")]
    assert await shelf.since(0) == [2, 4]
    shelf.told(1, 2, 3, 4)
    assert await shelf.since(0) == [2, 4]
    assert await shelf.log.last(shelf.task) == 4


async def test_what_is_in_memory_is_not_taken_for_all_of_a_task_that_another_engine_has_ended(
    autojump_clock, shelf
):
    shelf.told(1, 2, 3)
    assert await shelf.since(2) == [3]
    shelf.ended(20)
    assert await shelf.since(2) == list(range(3, 21))
    assert await shelf.log.last(shelf.task) == 20
    shelf.told(4, 5)
    assert await shelf.since(5) == list(range(6, 21))


async def test_a_task_that_has_ended_is_read_once_for_all_who_know_its_end(autojump_clock, shelf):
    shelf.ended(20)
    assert await shelf.since(0) == list(range(1, 21))
    for _ in range(5):
        assert await shelf.since(20) == []
        assert await shelf.log.last(shelf.task) == 20
    assert shelf.readings == 1


async def test_the_end_of_a_task_that_was_followed_is_known_without_reading(autojump_clock, shelf):
    shelf.told(*range(1, 21))
    shelf.ended(20)
    assert await shelf.since(16) == [17, 18, 19, 20]
    assert await shelf.since(20) == []
    assert await shelf.log.last(shelf.task) == 20
    assert shelf.readings == 0


@pytest.mark.parametrize("evidence", [None, {}, {"events": None}, [], "much"])
async def test_a_result_that_does_not_say_how_many_there_were_is_taken_as_it_is(
    autojump_clock, shelf, evidence
):
    shelf.told(1, 2)
    result = WorkerResult("w", WorkerStatus.FAILED, metadata={"evidence": evidence})
    shelf.log.app.state.settle(shelf.task, result)
    assert await shelf.since(0) == [1, 2]


async def test_of_many_tasks_the_oldest_are_left_to_their_files(autojump_clock, shelf):
    shelf.told(*range(1, 21))
    for number in range(TASKS):
        shelf.log.add(TaskEvent("w", f"other.{number}", 1, Text("x")))
    assert await shelf.since(15) == [16, 17, 18, 19, 20]
    assert shelf.readings == 1


async def test_without_its_plugin_a_task_has_no_events_and_does_no_harm(autojump_clock, fake_app):
    state = fake_app.state
    state.prepare()
    worker = Worker(state.new_worker_id(), WorkerType("gone", "gone", "fake"), Path("/repo"), utc_now())
    state.add_worker(worker)
    log, task = EventLog(fake_app), state.add_task(worker, "go", 300)
    assert await log.since(task, 0, 10) == []
    assert await log.last(task) == 0


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Started("s", "opus"), "model opus"),
        (Started("s"), "started"),
        (Text("two\nlines\tand a tab"), "two lines and a tab"),
        (Text("x" * 301), "x" * 299 + "…"),
        (Thinking("hm"), "hm"),
        (ToolCall("1", "Bash", {"a": [1, "é"]}), 'Bash {"a":[1,"é"]}'),
        (ToolResult("1", "fine"), "fine"),
        (ToolResult("1", "no", is_error=True), "failed: no"),
        (Usage(Tokens(1, 2, 3, 4)), "10 tokens"),
        (Notice("retry", "in 3 s"), "retry: in 3 s"),
        (Progress("compiling\x1b[2J", 0.4), "compiling\\x1b[2J (40%)"),
        (Progress(), "it goes on"),
        (Finished(success=True, text="done"), "done"),
        (Finished(success=False, error="broke"), "broke"),
        (Finished(success=True), "success"),
        (Finished(success=False), "failure"),
        (Oversize(5_000_000, "{"), "a line of 5000000 bytes"),
        (Raw({"type": "new"}), '{"type":"new"}'),
        (Text("half \ud83d a character"), "half \\ud83d a character"),
    ],
)
async def test_every_kind_of_event_has_words(autojump_clock, shelf, event, words):
    shelf.in_file[:] = [event]
    shelf.told(1)
    (happening,) = await shelf.log.since(shelf.task, 0, 10)
    assert happening.text == words
