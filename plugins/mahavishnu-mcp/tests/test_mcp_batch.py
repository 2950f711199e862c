"""worker_execute_batch: results by worker, those that cannot begin named, all of it ended with the call."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from mahavishnu_core import Worker, WorkerType
from mahavishnu_core.events import Finished, Text, ToolCall
from mahavishnu_core.models import utc_now
from mahavishnu_core.testing.fakes import Hang

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@BOTH_ERAS
async def test_the_results_come_by_worker_those_of_one_in_the_order_of_its_prompts(
    autojump_clock, desk, place
):
    place.script = lambda task: place.steps(
        {"a": 30.0, "b": 1.0}.get(task.prompt, 5.0), Finished(success=True, text=f"did {task.prompt}")
    )
    first, second = await desk.spawn(2)
    began = trio.current_time()
    batch = await desk.call(
        "worker_execute_batch", worker_ids=[first, second, first, first], prompts=["a", "b", "c", "d"]
    )
    outputs = {worker_id: [each["output"] for each in told] for worker_id, told in batch["results"].items()}
    assert outputs == {first: ["did a", "did c", "did d"], second: ["did b"]}
    assert batch["refused"] == []
    numbers = [each["task_id"].rpartition(".")[2] for each in batch["results"][first]]
    assert numbers == ["1", "2", "3"]
    assert 40 <= trio.current_time() - began < 42


@BOTH_ERAS
async def test_workers_that_cannot_begin_are_named_and_the_others_go_on(autojump_clock, desk, place):
    place.script = lambda task: place.steps(
        *([Text("begun"), Hang()] if task.prompt == "hang" else [Finished(success=True, text="done")])
    )
    good, busy, closed = await desk.spawn(3)
    await desk.begin(busy, "hang")
    await desk.call("worker_close", worker_id=closed)
    ids = ["nobody", good, busy, closed, good]
    batch = await desk.call("worker_execute_batch", worker_ids=ids, prompts=["go"] * 5)
    assert {worker_id: len(reports) for worker_id, reports in batch["results"].items()} == {good: 2}
    said = {each["worker_id"]: each["error"] for each in batch["refused"]}
    assert said.keys() == {"nobody", busy, closed}
    assert "there is no worker 'nobody'" in said["nobody"]
    assert "is busy with task" in said[busy]
    assert "is closed" in said[closed]


async def test_a_worker_whose_plugin_is_not_here_harms_no_other(autojump_clock, desk, place):
    state = desk.service.state
    stranger = Worker(state.new_worker_id(), WorkerType("gone", "gone", "fake"), state.root, utc_now())
    state.add_worker(stranger)
    (worker_id,) = await desk.spawn()
    given = {"worker_ids": [stranger.worker_id, worker_id], "prompts": ["a", "b"]}
    batch = await desk.call("worker_execute_batch", **given)
    (refusal,) = batch["refused"]
    assert refusal["worker_id"] == stranger.worker_id
    assert refusal["error"].startswith("no plugin reads the output of agent 'gone'")
    assert [each["output"] for each in batch["results"][worker_id]] == ["did b"]


@BOTH_ERAS
async def test_cancelling_the_call_ends_all_that_began_and_nothing_more_begins(autojump_clock, desk, place):
    place.does(Text("begun"), Hang())
    first, second, third = await desk.spawn(3)
    other = await desk.begin(third)
    with trio.move_on_after(5):
        await desk.call("worker_execute_batch", worker_ids=[first, second, first], prompts=["a", "b", "c"])
    for worker_id in (first, second):
        assert (await desk.end_of(f"{worker_id}.1")).status.value == "cancelled"
    await trio.sleep(60)
    assert len(place.runs) == 3
    assert desk.service.state.result(desk.service.state.task(other)) is None


async def test_when_the_server_leaves_the_tasks_go_on(autojump_clock, desk, place):
    place.does(Text("begun"), 60.0, Finished(success=True, text="done"))
    ids = await desk.spawn(2)
    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_after, 4.0, desk.service)
            await desk.call("worker_execute_batch", worker_ids=ids, prompts=["a", "b"])
    assert [(await desk.end_of(f"{worker_id}.1")).output for worker_id in ids] == ["done", "done"]


async def leave_after(seconds: float, service) -> None:
    await trio.sleep(seconds)
    service.is_ending = True


@BOTH_ERAS
async def test_the_steps_of_all_tasks_are_told_by_numbers_that_grow(autojump_clock, desk, place):
    place.script = lambda task: place.steps(
        *(step for number in range(5) for step in (ToolCall("1", task.prompt, number), 1.0)),
        Finished(success=True, text="done"),
    )
    ids = await desk.spawn(3)
    heard: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str) -> None:
        heard.append((progress, message))

    given = {"worker_ids": ids, "prompts": ["a", "b", "c"]}
    await desk.client.call_tool("worker_execute_batch", given, None, hear)
    numbers = [number for number, _ in heard]
    assert numbers == sorted(set(numbers))
    for worker_id, prompt in zip(ids, "abc", strict=True):
        own = [message for _, message in heard if f"{worker_id}.1" in message]
        assert own == [
            f"task {worker_id}.1 was given",
            *(f"{worker_id}.1 uses: {prompt} {number}" for number in range(5)),
        ]


@pytest.mark.thorough
async def test_tasks_of_one_call_are_told_no_oftener_than_one(autojump_clock, desk, place):
    """However many flood, and those that say little are heard among them."""
    flood = [step for number in range(900) for step in (Text(f"{number}"), 0.02)]
    place.script = lambda task: place.steps(
        *(flood if task.prompt == "flood" else [Text("once")]), 20.0, Finished(success=True, text="done")
    )
    ids = await desk.spawn(4)
    heard: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str) -> None:
        heard.append((trio.current_time(), message))

    given = {"worker_ids": ids, "prompts": ["flood", "flood", "flood", "quiet"]}
    await desk.client.call_tool("worker_execute_batch", given, None, hear)
    assert min(after - before for (before, _), (after, _) in pairwise(heard)) > 0.249
    messages = [message for _, message in heard]
    assert f"{ids[3]}.1 says: once" in messages
    for worker_id in ids[:3]:
        numbers = [int(each.rpartition(" ")[2]) for each in messages if f"{worker_id}.1 says" in each]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 899


async def test_the_answers_share_the_room_of_one(autojump_clock, desk, place):
    place.does(Finished(success=True, text="x" * 30_000))
    ids = await desk.spawn(4)
    result = await desk.client.call_tool("worker_execute_batch", {"worker_ids": ids, "prompts": ["go"] * 4})
    reports = [report for told in result.structured_content["results"].values() for report in told]
    assert [(report["truncated"], len(report["output"])) for report in reports] == [(True, 5000)] * 4
    links = [content for content in result.content if content.type == "resource_link"]
    assert [(link.uri, link.size) for link in links] == [(report["output_uri"], 30_000) for report in reports]
