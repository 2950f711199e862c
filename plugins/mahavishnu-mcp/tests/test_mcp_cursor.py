"""The cursor of worker_monitor: no event is told twice, and none is lost, whoever is asked and how."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import UsageError
from mahavishnu_core.events import Event, Finished, Text, ToolCall
from mahavishnu_core.output import events_so_far
from mahavishnu_mcp.events import is_partial, read_cursor, write_cursor

DONE = Finished(success=True, text="the answer")


def chatter(events: int, prompt: str = "", end: Event = DONE):
    """Steps of a task that says much, every third time in pieces."""
    for number in range(events - 1):
        if number % 3 == 0:
            yield Text(f"{prompt}{number}", partial=True)
        yield Text(f"{prompt}{number}") if number % 2 else ToolCall("1", f"{prompt}{number}", None)
    yield end


def written(desk, task_id: str) -> list[tuple[str, int]]:
    """The events of a task as its files have them."""
    pieces = events_so_far(desk.service.manager.app, desk.service.state.task(task_id))
    events = [event for piece in pieces for event in piece]
    return [(task_id, seq) for seq, event in enumerate(events, 1) if not is_partial(event)]


async def page(desk, told: list[tuple[str, int]], cursor: str, **arguments: object):
    """One answer, its events added to those that were told before."""
    seen = await desk.call("worker_monitor", cursor=cursor, **arguments)
    told += [(event["task_id"], event["seq"]) for event in seen["events"]]
    return seen


async def read_all(desk, cursor: str = "", **arguments: object) -> list[tuple[str, int]]:
    """Every event until all has ended and no more is there."""
    told: list[tuple[str, int]] = []
    seen = {"all_ended": False, "more": True, "cursor": cursor}
    while seen["more"] or not seen["all_ended"]:
        seen = await page(desk, told, seen["cursor"], **arguments)
    return told


@pytest.mark.parametrize("max_events", [1, 7, 1000])
async def test_pages_of_any_size_are_the_whole(autojump_clock, desk, place, max_events):
    place.script = lambda task: place.steps(*chatter(40, task.prompt))
    ids = await desk.spawn(2)
    for worker_id in ids:
        await desk.begin(worker_id)
    told = await read_all(desk, max_events=max_events)
    expected = [written(desk, f"{worker_id}.1") for worker_id in ids]
    assert [[place for place in told if place[0] == f"{worker_id}.1"] for worker_id in ids] == expected
    assert len(expected[0]) == 40


async def test_a_page_is_as_long_as_it_may_be_and_says_that_there_is_more(autojump_clock, desk, place):
    place.does(*chatter(10))
    (worker_id,) = await desk.spawn()
    await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    told, sizes, seen = [], [], {"more": True, "cursor": ""}
    while seen["more"]:
        seen = await page(desk, told, seen["cursor"], max_events=4)
        sizes.append(len(seen["events"]))
    assert sizes == [4, 4, 2]
    assert told == written(desk, f"{worker_id}.1")


@pytest.mark.parametrize("max_events", [1, 3, 100])
async def test_it_goes_on_from_task_to_task(autojump_clock, desk, place, max_events):
    """A reader who is still in the first task when the third has ended."""
    place.script = lambda task: place.steps(*chatter(5, task.prompt))
    (worker_id,) = await desk.spawn()
    await desk.call("worker_execute", worker_id=worker_id, prompt="a")
    told: list[tuple[str, int]] = []
    seen = await page(desk, told, "", max_events=min(max_events, 3))
    for prompt in ("b", "c"):
        await desk.call("worker_execute", worker_id=worker_id, prompt=prompt)
    told += await read_all(desk, seen["cursor"], max_events=max_events)
    assert told == [event for number in (1, 2, 3) for event in written(desk, f"{worker_id}.{number}")]


async def test_without_a_cursor_it_begins_with_the_latest_task(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    for prompt in ("a", "b"):
        await desk.call("worker_execute", worker_id=worker_id, prompt=prompt)
    assert await read_all(desk) == written(desk, f"{worker_id}.2")


async def test_another_server_goes_on_where_the_first_was(autojump_clock, place, open_desk):
    place.does(*chatter(20), *(60.0, Text("late"), 60.0, DONE))
    told: list[tuple[str, int]] = []
    async with open_desk() as first:
        (worker_id,) = await first.spawn()
        await first.begin(worker_id)
        await trio.sleep(1)
        seen = await page(first, told, "", max_events=11)
    assert len(told) == 11
    async with open_desk() as second:
        told += await read_all(second, seen["cursor"], interval=30)
        assert told == written(second, f"{worker_id}.1")
    async with open_desk() as third:
        assert await read_all(third) == told
        assert await read_all(third, seen["cursor"]) == told[11:]


@pytest.mark.parametrize("max_events", [150, 1000])
async def test_more_events_than_a_server_keeps_in_mind_are_told(autojump_clock, desk, place, max_events):
    place.does(*chatter(700, end=Text("on")), 30.0, *chatter(300))
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    await trio.sleep(5)
    told = await read_all(desk, max_events=max_events, interval=30)
    assert told == written(desk, f"{worker_id}.1")
    assert len(told) == 1000


async def test_what_another_program_has_read_to_its_end_is_told_whole(autojump_clock, desk, fake_app, place):
    place.script = lambda task: place.steps(*(2.0, Text("word")) * 5, DONE)
    async with WorkerManager(fake_app) as theirs:
        (worker_id,) = await theirs.spawn_workers("fake")
        told: list[tuple[str, int]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.execute_task, worker_id, "a")
            await trio.sleep(5)
            seen = await page(desk, told, "", interval=0)
        await theirs.execute_task(worker_id, "b")
        told += await read_all(desk, seen["cursor"])
    assert told == [event for number in (1, 2) for event in written(desk, f"{worker_id}.{number}")]


async def test_latest_is_from_now_on(autojump_clock, desk, place):
    place.does(Text("before"), 10.0, Text("after"), 1.0, DONE)
    first, second, third = await desk.spawn(3)
    await desk.call("worker_execute", worker_id=first, prompt="go")
    await desk.begin(second)
    await trio.sleep(5)
    told: list[tuple[str, int]] = []
    seen = await page(desk, told, "latest", interval=0)
    assert seen["events"] == []
    await desk.begin(third)
    told += await read_all(desk, seen["cursor"], interval=30)
    assert {task_id: [seq for task, seq in told if task == task_id] for task_id, _ in told} == {
        f"{second}.1": [2, 3],
        f"{third}.1": [1, 2, 3],
    }


async def test_places_in_tasks_of_nobody_are_no_matter(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    seen = await desk.call("worker_monitor", cursor=f"nobody.1:7 {worker_id}.9:3")
    assert [event["seq"] for event in seen["events"]] == [1]
    seen = await desk.call("worker_monitor", cursor=f"{worker_id}.1:999999999999999")
    assert seen["events"] == []


IDS = st.from_regex(r"[0-9a-z]{1,8}\.[0-9]{1,3}", fullmatch=True)


@settings(max_examples=30, deadline=None, database=None)
@given(places=st.dictionaries(IDS, st.integers(0, 10**15 - 1), max_size=5))
def test_what_is_written_is_read(places):
    assert read_cursor(write_cursor(places)) == places


@pytest.mark.parametrize("text", ["x", "a.1", "a.1:", ":1", "a.1:-1", "a.1:²", "a.1:1,b.1:2", "-:1", "a/b:1"])
def test_what_nobody_has_written_is_not(text):
    with pytest.raises(UsageError, match="that is no cursor"):
        read_cursor(text)
