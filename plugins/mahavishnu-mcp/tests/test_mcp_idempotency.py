"""A task that is given again with the same key is the same task, by whichever server and whenever."""

from __future__ import annotations

import pytest
import trio

from mahavishnu_core.events import Finished, Text
from mahavishnu_core.testing.fakes import Hang

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@BOTH_ERAS
async def test_a_call_that_is_repeated_while_the_task_runs_and_after_its_end_gets_its_result(
    autojump_clock, desk, place
):
    place.does(Text("begun"), 60.0, Finished(success=True, text="the answer"))
    (worker_id,) = await desk.spawn()
    answers = []

    async def ask() -> None:
        given = {"worker_id": worker_id, "prompt": "go", "idempotency_key": "k"}
        answers.append(await desk.call("worker_execute", **given))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(30)
        nursery.start_soon(ask)
    await ask()
    assert answers[0]["output"] == "the answer"
    assert answers == [answers[0]] * 3
    assert len(place.runs) == 1


@BOTH_ERAS
async def test_many_at_once_by_two_servers_are_one_task(autojump_clock, desk, place, open_desk):
    (worker_id,) = await desk.spawn()
    answers = []
    async with open_desk() as other, trio.open_nursery() as nursery:

        async def ask(where) -> None:
            given = {"worker_id": worker_id, "prompt": "it", "idempotency_key": "k"}
            answers.append(await where.call("worker_execute", **given))

        for where in (desk, other, desk, other, desk):
            nursery.start_soon(ask, where)
    assert answers[0]["output"] == "did it"
    assert answers == [answers[0]] * 5
    assert len(place.runs) == 1


async def test_a_server_that_comes_later_knows_the_keys_of_earlier_ones(autojump_clock, place, open_desk):
    async with open_desk() as first:
        (worker_id,) = await first.spawn()
        task_id = await first.begin(worker_id, "it", idempotency_key="k")
    async with open_desk() as second:
        assert await second.begin(worker_id, "it", idempotency_key="k") == task_id
        given = {"worker_id": worker_id, "prompt": "it", "idempotency_key": "k"}
        assert (await second.call("worker_execute", **given))["output"] == "did it"
    assert len(place.runs) == 1


async def test_the_result_is_told_again_when_the_worker_is_closed_or_has_gone_on(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    first = await desk.call("worker_execute", worker_id=worker_id, prompt="it", idempotency_key="k")
    await desk.call("worker_execute", worker_id=worker_id, prompt="more")
    await desk.call("worker_close", worker_id=worker_id)
    again = await desk.call("worker_execute", worker_id=worker_id, prompt="it", idempotency_key="k")
    assert again == first
    assert len(place.runs) == 2


@BOTH_ERAS
async def test_a_key_is_not_taken_for_another_prompt(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    await desk.call("worker_execute", worker_id=worker_id, prompt="it", idempotency_key="k")
    for wait in (True, False):
        given = {"worker_id": worker_id, "prompt": "more", "idempotency_key": "k", "wait": wait}
        said = await desk.refused("worker_execute", **given)
        assert said.startswith(f"this idempotency key was used for another prompt, in task '{worker_id}.1'")
    assert len(place.runs) == 1
    await desk.call("worker_execute", worker_id=worker_id, prompt="more", idempotency_key="another")


async def test_a_key_of_another_prompt_does_not_end_the_task_that_has_it(autojump_clock, desk, place):
    place.does(Text("begun"), Hang())
    (worker_id,) = await desk.spawn()
    task_id = await desk.begin(worker_id, "it", idempotency_key="k")
    await desk.refused("worker_execute", worker_id=worker_id, prompt="more", idempotency_key="k")
    await trio.sleep(30)
    assert desk.service.state.result(desk.service.state.task(task_id)) is None
    assert place.runs[0].asked == []


async def test_a_batch_that_is_repeated_is_the_same_tasks(autojump_clock, desk, place):
    ids = await desk.spawn(2)
    given = {
        "worker_ids": [ids[0], ids[1], ids[0]],
        "prompts": ["a", "b", "c"],
        "idempotency_key": "k",
    }
    first = await desk.call("worker_execute_batch", **given)
    assert await desk.call("worker_execute_batch", **given) == first
    assert [report["output"] for report in first["results"][ids[0]]] == ["did a", "did c"]
    assert len(place.runs) == 3
