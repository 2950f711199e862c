"""worker_execute: a task and what the client hears of it, ended with its call or begun without waiting."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import trio

from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import (
    Finished,
    Notice,
    Progress,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.fakes import Hang, Leave

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
DONE = Finished(success=True, text="the answer")


@attrs.define
class Heard:
    """What a client hears of the progress of a call, with when it does; it may be slow to take it in."""

    slowness: float = 0.0
    numbers: list[float] = attrs.field(factory=list)
    messages: list[str] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.numbers.append(progress)
        self.messages.append(str(message))
        self.times.append(trio.current_time())
        await trio.sleep(self.slowness)

    def shortest_pause(self) -> float:
        return min(after - before for before, after in pairwise(self.times))

    def assert_growing(self) -> None:
        assert self.numbers == sorted(set(self.numbers))


@BOTH_ERAS
async def test_the_answer_is_the_result_of_the_task(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    told = await desk.call("worker_execute", worker_id=worker_id, prompt="the work")
    assert (told["status"], told["is_final"], told["output"]) == ("completed", True, "did the work")
    assert (told["worker_id"], told["task_id"], told["worker_type"]) == (worker_id, f"{worker_id}.1", "fake")
    result = desk.service.state.result(desk.service.state.task(told["task_id"]))
    assert {name: told[name] for name in result.to_dict()} == result.to_dict()


async def test_a_failure_is_an_answer_with_its_reason(autojump_clock, desk, place):
    place.does(Text("half"), Finished(success=False, error="no more money", reason="api_error"), Leave(1))
    (worker_id,) = await desk.spawn()
    told = await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert (told["status"], told["output"], told["error"]) == ("failed", "half", "no more money")
    assert (told["metadata"]["reason"], told["exit_code"]) == ("api_error", 1)


async def test_a_task_has_the_time_that_the_client_gives_it(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    given = {"worker_id": worker_id, "prompt": "go"}
    ids = [(await desk.call("worker_execute", **given, **time))["task_id"] for time in ({"timeout": 45}, {})]
    assert [desk.service.state.task(task_id).timeout_seconds for task_id in ids] == [45, 3000]


# --- progress


@BOTH_ERAS
async def test_every_text_and_every_tool_call_is_told_in_order(autojump_clock, desk, place):
    place.does(
        *(Text("I will"), ToolCall("1", "Bash", {"command": "ls"}), ToolResult("1", "README"), 2.0),
        *(Thinking("so it is"), Text("pie", partial=True), Text("piece"), Usage(Tokens(5, 6))),
        *(
            Notice("retry", "again in 3 s"),
            3.0,
            ToolCall("2", "Read", {}),
            Text("last\x1b words\nof it"),
            DONE,
        ),
    )
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    task_id = f"{worker_id}.1"
    assert heard.messages == [
        f"task {task_id} was given",
        f"{task_id} says: I will",
        f'{task_id} uses: Bash {{"command":"ls"}}',
        f"{task_id} thinks: so it is",
        f"{task_id} says: piece",
        f"{task_id} notice: retry: again in 3 s",
        f"{task_id} uses: Read {{}}",
        f"{task_id} says: last\\x1b words of it",
    ]
    heard.assert_growing()


async def test_what_programs_report_is_told_and_no_number_goes_back(autojump_clock, desk, place):
    place.does(Progress("half", 0.5), ToolCall("1", "Bash", {}), Progress("less", 0.25), Progress(), DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.messages[1:] == [
        f"{worker_id}.1 reports: half (50%)",
        f"{worker_id}.1 uses: Bash {{}}",
        f"{worker_id}.1 reports: less (25%)",
        f"{worker_id}.1 reports: it goes on",
    ]
    heard.assert_growing()


async def test_of_very_many_steps_at_once_the_last_are_told(autojump_clock, desk, place):
    place.does(*(ToolCall(str(number), "Bash", number) for number in range(1500)), DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.messages[0] == f"task {worker_id}.1 was given"
    assert heard.messages[1:] == [f"{worker_id}.1 uses: Bash {number}" for number in range(1490, 1500)]


@BOTH_ERAS
async def test_a_flood_is_told_four_times_a_second_in_order_and_to_its_last_step(autojump_clock, desk, place):
    steps = [step for number in range(2000) for step in (ToolCall(str(number), "Bash", number), 0.01)]
    place.does(*steps, 8.0, DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.shortest_pause() > 0.249
    assert len(heard.messages) > 40
    numbers = [int(message.rpartition(" ")[2]) for message in heard.messages[1:]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 1999
    heard.assert_growing()


async def test_steps_that_come_together_are_told_one_after_the_other(autojump_clock, desk, place):
    place.does(*(ToolCall(str(number), "Bash", number) for number in range(10)), 5.0, DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.messages[1:] == [f"{worker_id}.1 uses: Bash {number}" for number in range(10)]
    assert heard.shortest_pause() > 0.249


async def test_what_happens_while_the_client_is_slow_is_told_as_soon_as_it_listens(
    autojump_clock, desk, place
):
    place.does(Text("one"), 4.0, Text("two"), 40.0, DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard(slowness=3.0)
    began = trio.current_time()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.messages[1:3] == [f"{worker_id}.1 says: one", f"{worker_id}.1 says: two"]
    assert heard.times[2] - began < 7


@BOTH_ERAS
async def test_a_silent_task_is_said_to_go_on_however_much_others_say(autojump_clock, desk, place):
    talk = [step for number in range(60) for step in (Text(f"{number}"), 1.0)]
    place.script = lambda task: place.steps(*talk, DONE) if task.prompt == "talk" else place.steps(34.0, DONE)
    talker, silent = await desk.spawn(2)
    await desk.begin(talker, "talk")
    heard = Heard()
    began = trio.current_time()
    await desk.client.call_tool("worker_execute", {"worker_id": silent, "prompt": "go"}, None, heard)
    assert heard.messages[1:] == [f"{silent}.1 goes on, {n}0 s so far" for n in (1, 2, 3)]
    assert [round(time - began) for time in heard.times[1:]] == [10, 20, 30]
    heard.assert_growing()


async def test_no_sign_of_life_is_needed_where_steps_are_told(autojump_clock, desk, place):
    place.does(*(step for _ in range(8) for step in (Text("word"), 6.0)), DONE)
    (worker_id,) = await desk.spawn()
    heard = Heard()
    await desk.client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": "go"}, None, heard)
    assert heard.messages[1:] == [f"{worker_id}.1 says: word"] * 8


# --- a call that does not come to its end


@BOTH_ERAS
async def test_cancelling_the_call_ends_the_task(autojump_clock, desk, place):
    place.does(Text("begun"), Hang())
    (worker_id,) = await desk.spawn()
    with trio.move_on_after(5) as cancelled:
        await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert cancelled.cancelled_caught
    result = await desk.end_of(f"{worker_id}.1")
    assert (result.status.value, result.output) == ("cancelled", "begun")
    assert [cause for cause, _ in place.runs[0].asked] == ["cancelled"]
    place.does(DONE)
    again = await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert again["output"] == "the answer"


@BOTH_ERAS
async def test_when_the_server_leaves_its_tasks_go_on(autojump_clock, desk, place):
    place.does(Text("begun"), 60.0, DONE)
    (worker_id,) = await desk.spawn()
    with trio.move_on_after(5) as cancelled:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_after, 4.0, desk.service)
            await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert cancelled.cancelled_caught
    assert (await desk.end_of(f"{worker_id}.1")).output == "the answer"
    assert place.runs[0].asked == []


async def leave_after(seconds: float, service) -> None:
    await trio.sleep(seconds)
    service.is_ending = True


@BOTH_ERAS
async def test_a_task_that_is_being_launched_when_its_call_is_cancelled_does_not_block_its_worker(
    autojump_clock, desk, place
):
    place.seconds_to_launch = 10.0
    (worker_id,) = await desk.spawn()
    with trio.move_on_after(5):
        await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert (await desk.end_of(f"{worker_id}.1")).status.value == "cancelled"
    place.seconds_to_launch = 0.0
    assert (await desk.call("worker_execute", worker_id=worker_id, prompt="it"))["output"] == "did it"


async def test_a_task_that_nobody_can_end_is_named_in_the_log_and_the_server_goes_on(
    autojump_clock, desk, place, monkeypatch, caplog
):
    place.does(Text("begun"), Hang())
    (worker_id,) = await desk.spawn()

    async def end(self, cause, grace):
        raise OSError("the daemon is away")

    monkeypatch.setattr("mahavishnu_core.testing.fakes.FakeRun.end", end)
    with trio.move_on_after(5):
        await desk.call("worker_execute", worker_id=worker_id, prompt="go")
    assert f"task {worker_id}.1 cannot be ended: the daemon is away" in caplog.text
    assert (await desk.call("worker_list"))["workers"][0]["status"] == "running"


async def test_a_task_that_cannot_be_followed_here_is_left_to_who_can(
    autojump_clock, desk, place, monkeypatch
):
    place.does(Text("begun"), 30.0, DONE)
    (worker_id,) = await desk.spawn()

    async def find(self, task):
        raise PluginError("the daemon is away")

    monkeypatch.setattr(type(place), "_find", find)
    said = await desk.refused("worker_execute", worker_id=worker_id, prompt="go")
    assert said == "the daemon is away"
    await trio.sleep(60)
    assert place.runs[0].asked == []
    seen = await desk.call("worker_monitor", interval=0)
    assert [event["text"] for event in seen["events"]] == ["begun", "the answer"]
    monkeypatch.undo()
    results = await desk.call("worker_collect_results")
    assert results["results"][worker_id]["output"] == "the answer"


async def test_a_disk_that_is_full_for_a_while_does_not_end_the_server(
    autojump_clock, desk, place, monkeypatch
):
    first, second = await desk.spawn(2)
    await desk.begin(first, "one")

    def settle(self, task, result):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateDir, "settle", settle)
    await trio.sleep(30)
    assert "No space" not in await desk.refused("worker_execute", worker_id=second, prompt="two")
    monkeypatch.undo()
    results = await desk.call("worker_collect_results")
    assert {report["output"] for report in results["results"].values()} == {"did one", "did two"}


@pytest.mark.whole
async def test_cancelling_the_call_ends_all_processes_of_the_task(open_real):
    """With real ones: the fixture fails the test where one is left."""
    async with open_real() as desk:
        (worker_id,) = await desk.spawn(kind="shell")
        prompt = "echo begun; sleep 1000 & (sleep 1000) & wait"
        with trio.CancelScope() as scope:

            async def hear(progress: float, total: float | None, message: str) -> None:
                if message.endswith("says: begun"):
                    scope.cancel()

            given = {"worker_id": worker_id, "prompt": prompt}
            await desk.client.call_tool("worker_execute", given, None, hear)
        assert scope.cancelled_caught
        result = await desk.service.manager.wait_for_task(f"{worker_id}.1")
    assert (result.status.value, result.output) == ("cancelled", "begun")


# --- without waiting


@BOTH_ERAS
async def test_without_waiting_the_id_is_told_at_once_and_the_task_goes_on(autojump_clock, desk, place):
    place.does(Text("begun"), 600.0, DONE)
    (worker_id,) = await desk.spawn()
    began = trio.current_time()
    told = await desk.call("worker_execute", worker_id=worker_id, prompt="go", wait=False)
    assert trio.current_time() - began < 1
    assert (told["task_id"], told["is_final"], told["output"]) == (f"{worker_id}.1", False, None)
    assert told["status"] in {"pending", "starting", "running"}
    await trio.sleep(1)
    (line,) = (await desk.call("worker_list"))["workers"]
    assert (line["status"], line["activity"]) == ("running", "begun")
    await trio.sleep(600)  # nobody asks, and it is seen to its end all the same
    assert desk.service.state.result(desk.service.state.task(told["task_id"])) is not None
    assert (await desk.end_of(told["task_id"])).output == "the answer"


async def test_a_task_that_waits_for_a_slot_is_pending(autojump_clock, desk, place):
    place.width = trio.Semaphore(1)
    place.does(5.0, DONE)
    first, second = await desk.spawn(2)
    await desk.begin(first)
    told = await desk.call("worker_execute", worker_id=second, prompt="go", wait=False)
    assert told["status"] == "pending"
    assert (await desk.end_of(told["task_id"])).output == "the answer"


async def test_a_busy_worker_takes_no_second_task(autojump_clock, desk, place):
    place.does(Text("begun"), Hang())
    (worker_id,) = await desk.spawn()
    await desk.begin(worker_id)
    for wait in (True, False):
        said = await desk.refused("worker_execute", worker_id=worker_id, prompt="more", wait=wait)
        assert said.startswith(f"worker '{worker_id}' is busy with task '{worker_id}.1'")
    assert len(place.runs) == 1


async def test_a_closed_worker_takes_no_task(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    await desk.call("worker_close", worker_id=worker_id)
    said = await desk.refused("worker_execute", worker_id=worker_id, prompt="go")
    assert said == f"worker '{worker_id}' is closed: spawn another one"
    assert place.runs == []


async def test_a_worker_goes_on_with_its_conversation(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    for number in (1, 2):
        told = await desk.call("worker_execute", worker_id=worker_id, prompt=f"{number}")
        assert (told["task_id"], told["output"]) == (f"{worker_id}.{number}", f"did {number}")
