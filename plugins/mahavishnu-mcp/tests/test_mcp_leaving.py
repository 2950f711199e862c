"""Calls that end while their task is just being given: because the client cancels, or the server leaves."""

from __future__ import annotations

from functools import partial

import pytest
import trio

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


async def give_up(desk, seconds: float, tool: str, **arguments: object) -> None:
    """Call a tool, and cancel the call after so long."""
    with trio.move_on_after(seconds) as scope:
        await desk.call(tool, **arguments)
    assert scope.cancelled_caught


@BOTH_ERAS
@pytest.mark.parametrize("tool", ["worker_execute", "worker_execute_batch"])
async def test_a_task_that_is_being_given_when_the_server_leaves_goes_on(autojump_clock, desk, place, tool):
    (worker_id,) = await desk.spawn()
    place.seconds_to_launch = 5.0
    given = {"worker_id": worker_id, "prompt": "it"}
    if tool == "worker_execute_batch":
        given = {"worker_ids": [worker_id], "prompts": ["it"]}
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def leave() -> None:
            await trio.sleep(4.5)
            desk.service.leave()

        await give_up(desk, 4.6, tool, **given)
    assert (await desk.end_of(f"{worker_id}.1")).output == "did it"
    assert place.runs[0].asked == []


async def test_the_server_does_not_wait_long_for_it(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    place.seconds_to_launch = 50.0
    async with trio.open_nursery() as nursery:
        arguments = {"worker_id": worker_id, "prompt": "it"}
        nursery.start_soon(partial(give_up, desk, 5, "worker_execute", **arguments))
        await trio.sleep(4)
        desk.service.leave()
        left = trio.current_time()
        assert (await desk.end_of(f"{worker_id}.1")).status.value == "cancelled"
        assert trio.current_time() - left < 2


async def test_nor_for_one_that_is_given_when_it_leaves_already(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    place.seconds_to_launch = 50.0
    desk.service.leave()
    left = trio.current_time()
    assert "does not begin" in await desk.refused("worker_execute", worker_id=worker_id, prompt="it")
    assert trio.current_time() - left < 2


@BOTH_ERAS
@pytest.mark.parametrize("wait", [True, False])
async def test_a_task_that_is_being_given_when_its_call_is_cancelled_is_ended(
    autojump_clock, desk, place, wait
):
    (worker_id,) = await desk.spawn()
    place.seconds_to_launch = 5.0
    await give_up(desk, 3, "worker_execute", worker_id=worker_id, prompt="it", wait=wait)
    assert (await desk.end_of(f"{worker_id}.1")).status.value == "cancelled"


async def test_a_place_that_does_not_begin_is_not_waited_for_without_end(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    place.seconds_to_launch = 10_000.0
    said = await desk.refused("worker_execute", worker_id=worker_id, prompt="it")
    assert said == f"worker {worker_id!r} does not begin, and its task was taken back: try again"
    place.seconds_to_launch = 0.0
    again = await desk.call("worker_execute", worker_id=worker_id, prompt="again")
    assert again["output"] == "did again"
