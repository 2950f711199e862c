"""worker_monitor: a long poll that returns as soon as something happens, and what it tells."""

from __future__ import annotations

import pytest
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.events import Finished, Started, Text, Thinking, ToolCall
from mahavishnu_core.testing.fakes import Hang
from mahavishnu_mcp.events import EventLog

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
DONE = Finished(success=True, text="the answer")


async def seconds_until(desk, **arguments: object):
    """How long a question takes, and what is answered."""
    began = trio.current_time()
    seen = await desk.call("worker_monitor", **arguments)
    return trio.current_time() - began, seen


@BOTH_ERAS
async def test_it_tells_how_workers_stand_and_what_has_happened(autojump_clock, desk, place):
    place.does(Text("on it"), ToolCall("1", "Bash", {"command": "ls"}), 5.0, DONE)
    first, second = await desk.spawn(2)
    await desk.begin(first)
    await trio.sleep(1)
    seen = await desk.call("worker_monitor")
    assert {worker_id: line["status"] for worker_id, line in seen["workers"].items()} == {
        first: "running",
        second: "pending",
    }
    assert seen["events"] == [
        {"worker_id": first, "task_id": f"{first}.1", "seq": 1, "type": "text", "text": "on it"},
        {
            "worker_id": first,
            "task_id": f"{first}.1",
            "seq": 2,
            "type": "tool_call",
            "text": 'Bash {"command":"ls"}',
        },
    ]
    assert (seen["more"], seen["all_ended"]) == (False, False)
    lines = {line["worker_id"]: line for line in (await desk.call("worker_list"))["workers"]}
    assert {worker_id: line["status"] for worker_id, line in lines.items()} == {
        worker_id: line["status"] for worker_id, line in seen["workers"].items()
    }


@BOTH_ERAS
async def test_it_waits_for_the_next_event_and_no_longer(autojump_clock, desk, place):
    place.does(Text("one"), 12.0, Text("two"), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    seconds, seen = await seconds_until(desk, interval=20)
    assert (seconds < 1, [event["text"] for event in seen["events"]]) == (True, ["one"])
    seconds, seen = await seconds_until(desk, interval=20, cursor=seen["cursor"])
    assert [event["text"] for event in seen["events"]] == ["two"]
    assert 10 < seconds < 13


@BOTH_ERAS
async def test_it_waits_as_long_as_it_is_told_at_most(autojump_clock, desk, place):
    place.does(Text("one"), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    _, first = await seconds_until(desk)
    for interval, longest in ((0, 0.1), (1, 1.2), (30, 30.2)):
        seconds, seen = await seconds_until(desk, interval=interval, cursor=first["cursor"])
        assert interval <= seconds < longest
        assert (seen["events"], seen["all_ended"], seen["cursor"]) == ([], False, first["cursor"])


async def test_a_task_that_begins_and_one_that_ends_are_news(autojump_clock, desk, place):
    place.does(15.0, Text("word"), DONE)
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    seconds, seen = await seconds_until(desk, interval=30, cursor="latest")
    while not seen["events"]:  # it is seen to start before it says anything
        assert seconds < 1
        seconds, seen = await seconds_until(desk, interval=30, cursor=seen["cursor"])
    assert 14 < seconds < 16


async def test_what_another_program_begins_is_news(autojump_clock, desk, fake_app, place):
    place.does(Text("one"), Hang())
    first, second = await desk.spawn(2)
    await desk.begin(first)
    _, seen = await seconds_until(desk)
    async with WorkerManager(fake_app) as theirs, trio.open_nursery() as nursery:
        nursery.start_soon(submit_after, 8.0, theirs, second)
        seconds, seen = await seconds_until(desk, interval=30, cursor=seen["cursor"])
    assert 8 <= seconds < 9
    assert seen["workers"][second]["task_id"] == f"{second}.1"


async def submit_after(seconds: float, manager: WorkerManager, worker_id: str) -> None:
    await trio.sleep(seconds)
    await manager.submit_task(worker_id, "go")


async def test_what_happens_while_it_looks_is_not_missed(autojump_clock, desk, place, monkeypatch):
    place.does(Text("one"), 6.0, Text("two"), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    _, seen = await seconds_until(desk)
    really = EventLog.since

    async def slow(log, *args):
        found = await really(log, *args)
        await trio.sleep(4)
        return found

    await trio.sleep(4)
    monkeypatch.setattr(EventLog, "since", slow)
    seconds, seen = await seconds_until(desk, interval=30, cursor=seen["cursor"])
    assert [event["text"] for event in seen["events"]] == ["two"]
    assert seconds < 10


@BOTH_ERAS
async def test_it_says_when_all_has_ended_and_waits_no_longer(autojump_clock, desk, place):
    place.script = lambda task: place.steps(*([DONE] if task.prompt == "short" else [40.0, DONE]))
    short, long, _ = await desk.spawn(3)
    await desk.begin(short, "short")
    await desk.begin(long, "long")
    began, seen = trio.current_time(), await desk.call("worker_monitor", interval=20)
    told = list(seen["events"])
    while not seen["all_ended"]:
        seen = await desk.call("worker_monitor", interval=20, cursor=seen["cursor"])
        told += seen["events"]
    assert 39 < trio.current_time() - began < 42
    assert [event["worker_id"] for event in told] == [short, long]
    seconds, seen = await seconds_until(desk, interval=30, cursor=seen["cursor"])
    assert (seconds < 0.1, seen["all_ended"], seen["events"]) == (True, True, [])
    assert (await desk.call("worker_monitor", worker_ids=[]))["all_ended"]


async def test_a_standing_worker_is_told_of_and_waited_for_only_where_it_is_named(
    autojump_clock, desk, place
):
    (worker_id,) = await desk.spawn()
    place.does(Started(session_id=None), Hang())
    (standing,) = await desk.spawn(kind="standing")
    assert "takes no tasks" in await desk.refused("worker_execute", worker_id=standing, prompt="go")
    place.does(DONE)
    await desk.begin(worker_id)
    seen = await desk.call("worker_monitor", interval=20)
    seen = await desk.call("worker_monitor", interval=20, cursor=seen["cursor"])
    assert (seen["all_ended"], list(seen["workers"])) == (True, [worker_id])
    seen = await desk.call("worker_monitor", worker_ids=[standing], interval=1)
    assert (seen["all_ended"], seen["workers"][standing]["status"]) == (False, "running")
    listed = await desk.call("worker_list")
    assert {line["worker_id"] for line in listed["workers"]} == {worker_id, standing}
    await desk.call("worker_close", worker_id=standing)


async def test_the_last_words_are_there_when_all_has_ended(autojump_clock, desk, place):
    """Whoever stops at all_ended has heard everything."""
    place.does(*(Text(f"{number}") for number in range(20)), DONE)
    for _ in range(5):
        (worker_id,) = await desk.spawn()
        await desk.begin(worker_id)
        told, seen = [], {"all_ended": False, "cursor": ""}
        while not seen["all_ended"]:
            asked = {"worker_ids": [worker_id], "interval": 5, "cursor": seen["cursor"]}
            seen = await desk.call("worker_monitor", **asked)
            told += seen["events"]
        assert [event["seq"] for event in told] == list(range(1, 22))


async def test_only_the_named_workers_are_watched(autojump_clock, desk, place):
    place.script = lambda task: place.steps(*(Text("word") for _ in range(3)), 1.0, Text(task.prompt), Hang())
    first, second, third = await desk.spawn(3)
    for worker_id in (first, second):
        await desk.begin(worker_id)
    await trio.sleep(5)
    seconds, seen = await seconds_until(desk, worker_ids=[second, third, second], cursor="latest", interval=3)
    assert (set(seen["workers"]), seen["events"]) == ({second, third}, [])
    assert 3 <= seconds < 4
    seen = await desk.call("worker_monitor", worker_ids=[first])
    assert {event["worker_id"] for event in seen["events"]} == {first}


async def test_a_closed_worker_can_still_be_asked_for(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    await desk.call("worker_execute", worker_id=worker_id, prompt="it")
    await desk.call("worker_close", worker_id=worker_id)
    assert (await desk.call("worker_monitor"))["workers"] == {}
    seen = await desk.call("worker_monitor", worker_ids=[worker_id])
    assert (seen["workers"][worker_id]["closed"], len(seen["events"])) == (True, 1)


# --- what must not be told


@pytest.mark.parametrize("secret", ["of-this-environment", "the-types-own-secret"])
async def test_secrets_are_taken_out_of_events_and_activity(
    autojump_clock, monkeypatch, open_desk, place, secret
):
    monkeypatch.setenv("HOUSE_PASSWORD", "of-this-environment")
    cut = Text("x" * 290 + secret)
    place.does(Text(f"it is {secret}, and"), cut, ToolCall("1", "Bash", [secret]), Text(secret), Hang())
    async with open_desk() as desk:
        (worker_id,) = await desk.spawn(kind="secretive")
        await desk.begin(worker_id)
        await trio.sleep(1)
        seen = await desk.call("worker_monitor")
    assert [event["text"] for event in seen["events"]] == [
        "it is [redacted], and",
        "x" * 290 + "[redacted]",
        'Bash ["[redacted]"]',
        "[redacted]",
    ]
    assert seen["workers"][worker_id]["activity"] == "[redacted]"


async def test_control_characters_are_shown_and_not_obeyed(autojump_clock, desk, place):
    text = Text("red\x1b[31m\r\nalert\x07 \u202eright")
    place.does(text, ToolCall("1", "rm\x9b", {}), Text("a\x1b]0;b"), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    await trio.sleep(1)
    seen = await desk.call("worker_monitor")
    assert [event["text"] for event in seen["events"]] == [
        "red\\x1b[31m alert\\x07 \\u202eright",
        "rm\\x9b {}",
        "a\\x1b]0;b",
    ]
    assert seen["workers"][worker_id]["activity"] == "a\\x1b]0;b"


async def test_a_long_text_is_cut_and_pieces_of_a_text_are_left_out(autojump_clock, desk, place):
    pieces = Text("pie", partial=True), Thinking("so", partial=True)
    place.does(*pieces, Thinking("so so"), Text("piece" * 100), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    await trio.sleep(1)
    seen = await desk.call("worker_monitor")
    assert [(event["seq"], event["type"]) for event in seen["events"]] == [(3, "thinking"), (4, "text")]
    assert len(seen["events"][1]["text"]) == 300


async def test_the_label_is_in_what_a_model_reads(autojump_clock, desk):
    result = await desk.client.call_tool("worker_monitor", {})
    assert "untrusted" in result.structured_content["notice"]
    assert "untrusted" in result.content[0].text
