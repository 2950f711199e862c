"""The end of what runs in containers, however it resists: nothing is left of it, and the next task works."""

from __future__ import annotations

import pytest
import trio

from mahavishnu_core import WorkerStatus
from mahavishnu_core.testing.processes import lives, resident_kb

from .yard import until

pytestmark = pytest.mark.container

BOX = "box=${MAHAVISHNU_PROGRESS%/*}; main=$PPID; "
"""What a command may find out: where the pipes are, and who waits for it."""
WATCHER = (
    BOX + "for entry in /proc/[0-9]*; do pid=${entry#/proc/};"
    " [ $pid != $main ] && [ $pid != $$ ] && grep -q 'Runs a command in' $entry/cmdline 2>/dev/null"
    " && watcher=$pid; done; "
)
"""And who watches over it."""
ENDLESS = "echo here; while :; do sleep 1000; done"


async def ended(boxed, prompt, seconds=40.0, grace=None):
    """The result of a task of which nothing is left; with a grace it is cancelled once it says ``here``."""
    results, state = [], boxed.manager.app.state
    before = state.last_task(boxed.worker_id)

    async def carry_out():
        results.append(await boxed.do(prompt, seconds))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_out)
        if grace is not None:
            await until(lambda: state.last_task(boxed.worker_id) != before)
            await boxed.says(b"here")
            await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=grace)
    assert not lives(boxed.shim)
    assert boxed.processes() == {}
    return results[0]


async def works(boxed):
    """Whether the container takes the next task, and keeps nothing of the last one."""
    result = await boxed.do("echo works")
    return result.output == "works" and result.metadata["warnings"] == [] and not any(boxed.boxes)


IMMUNE = "trap '' TERM HUP INT; "
RESISTING = {
    "ignores TERM": IMMUNE + ENDLESS,
    "has a family that ignores TERM": IMMUNE + "sh -c 'sleep 1001 & sleep 1002' & (sleep 1003 &); " + ENDLESS,
    "has daemons in sessions of their own": IMMUNE
    + "setsid sh -c '(setsid sleep 1001 &) & sleep 1002' & "
    + ENDLESS,
    "floods its output after TERM": "trap 'while :; do echo flood; done' TERM; echo here;"
    " while :; do sleep 0.1; done",
    "has closed all its files": IMMUNE + "echo here; exec <&- >&- 2>&-; while :; do sleep 1000; done",
    "has stopped itself": "echo here; kill -STOP $$",
    "has stopped what watches over it": WATCHER + "kill -STOP $watcher $main; " + ENDLESS,
    "has stopped what waits for it": BOX + "kill -STOP $main; " + ENDLESS,
    "has killed what waits for it": BOX + "kill -KILL $main; " + ENDLESS,
    "keeps all pipes open and has killed both": WATCHER
    + "exec 4<>$box/report 5<>$box/reply 6<>$box/control; kill -KILL $watcher $main; "
    + ENDLESS,
    "has filled the pipe that nobody reads": WATCHER
    + "kill -STOP $watcher; yes >$box/control & sleep 0.3; "
    + ENDLESS,
    "starts others without end": IMMUNE
    + "echo here; while :; do sh -c 'sleep 1001 & sleep 1002 &'; done 2>/dev/null",
    "has deleted the box": IMMUNE + "rm -rf /run/mahavishnu/*; " + ENDLESS,
}


@pytest.mark.parametrize("prompt", RESISTING.values(), ids=RESISTING)
async def test_f2_a_cancelled_command_is_ended_though_it(yard, prompt):
    async with yard.worker(pids=128) as boxed:
        result = await ended(boxed, prompt, grace=0.2)
        assert result.status is WorkerStatus.CANCELLED
        assert set(result.metadata["warnings"]) <= {"strays_ended", "container_restarted"}
        assert await works(boxed)


async def test_the_time_limit_ends_what_obeys_at_once_and_what_does_not_after_the_grace(yard):
    async with yard.worker() as boxed:
        result = await ended(boxed, ENDLESS + " & wait", seconds=0.7)
        assert (result.status, result.exit_code) == (WorkerStatus.TIMEOUT, 143)
        assert result.duration_seconds < 2
        result = await ended(boxed, IMMUNE + ENDLESS, seconds=0.7)
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.TIMEOUT, "wall")
        assert 5 < result.duration_seconds < 8
        assert await works(boxed)


async def test_a_command_may_clean_up_after_term(yard):
    async with yard.worker() as boxed:
        result = await ended(boxed, "trap 'echo cleaned; exit 7' TERM; sleep 1000 & echo here; wait", grace=5)
        assert (result.status, result.exit_code) == (WorkerStatus.CANCELLED, 7)
        assert boxed.stdout == b"here\ncleaned\n"
        assert result.duration_seconds < 3


async def test_a_second_cancel_does_not_wait_for_the_grace(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        with trio.fail_after(4):
            nursery.start_soon(boxed.do, IMMUNE + ENDLESS)
            await boxed.says(b"here")
            nursery.start_soon(boxed.manager.cancel_task, boxed.task.task_id)
            await until(lambda: boxed.manager.app.state.exit(boxed.task) is None)
            await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=0)
        assert boxed.processes() == {}


async def test_no_grace_at_all_is_kept_to(yard):
    async with yard.worker() as boxed:
        for _ in range(5):
            result = await ended(boxed, IMMUNE + ENDLESS, grace=0)
            assert result.metadata["warnings"] == []
            assert result.duration_seconds < 4


async def test_what_stops_all_that_comes_to_end_it_is_ended_from_outside(yard):
    async with yard.worker() as boxed:
        stopper = "trap '' TERM; while :; do kill -STOP -1; done"
        results = []

        async def carry_out():
            results.append(await boxed.do(f"echo here; sleep 0.2; {stopper} & {stopper}"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry_out)
            await boxed.says(b"here")
            await trio.sleep(0.3)
            await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=0.2)
        (result,) = results
        assert result.status is WorkerStatus.CANCELLED
        assert result.metadata["warnings"] == ["container_restarted"], boxed.stderr
        assert result.duration_seconds < 10
        assert await works(boxed)


# --- what outlives its command


@pytest.mark.parametrize(
    "prompt",
    [
        "sleep 1001 & echo done",
        "(setsid sleep 1001 >/dev/null 2>&1 &) & echo done",
        "trap '' TERM; setsid sh -c 'sleep 1001 & while :; do sleep 1002; done' & echo done",
    ],
    ids=["a child", "a daemon", "a family that ignores TERM"],
)
async def test_what_outlives_its_command_is_ended_and_named(yard, prompt):
    async with yard.worker() as boxed:
        result = await ended(boxed, prompt)
        assert (result.status, result.output) == (WorkerStatus.COMPLETED, "done")
        assert result.metadata["warnings"] == ["strays_ended"]
        strays = result.metadata["evidence"]["strays"]
        assert strays
        assert all(stray.split()[0].isdecimal() for stray in strays), strays
        assert any(stray.endswith(" sleep") for stray in strays), strays
        assert await works(boxed)


async def test_what_ends_soon_after_its_command_is_no_stray(yard):
    async with yard.worker() as boxed:
        result = await ended(boxed, "(sleep 0.3; echo late) & echo done")
        assert (result.output, result.metadata["warnings"]) == ("done\nlate", [])


# --- commands that end more than themselves


SUICIDAL = {
    "kill -KILL -1": 137,
    "kill -KILL 0": 137,
    "kill -TERM -1; exit 3": 3,
    "kill -TERM 0": 143,
    WATCHER + "kill -KILL $watcher; sleep 0.1; exit 3": 3,
    WATCHER + "kill -STOP $watcher; exit 3": 3,
    BOX + "rm -rf /run/mahavishnu/*; exit 3": 3,
    BOX + "mv $box/stdout $box/x; mkfifo $box/stdout; exit 3": 3,
    BOX + "chmod 000 $box $box/*; exit 3": 3,
    "exec <&- >&- 2>&- 9>&-; exit 3": 3,
    BOX + "rm $box/report; echo 'exit 0' >$box/report; exit 3": 3,
    BOX + "rm $box/stdout; ln -s /etc/passwd $box/stdout; exit 3": 3,
}


@pytest.mark.parametrize("prompt", SUICIDAL, ids=list(map(str, range(len(SUICIDAL)))))
async def test_the_exit_status_is_known_though_a_command_has_ended_its_watch(yard, prompt):
    async with yard.worker() as boxed:
        result = await ended(boxed, prompt)
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, SUICIDAL[prompt])
        assert await works(boxed)


async def test_a_command_whose_watch_is_gone_is_ended_and_that_is_said(yard):
    async with yard.worker() as boxed:
        result = await ended(boxed, WATCHER + "kill -KILL $watcher $main; " + ENDLESS)
        assert (result.status, result.metadata["warnings"]) == (WorkerStatus.FAILED, ["container_restarted"])
        assert await works(boxed)


# --- commands that speak in our place


async def test_a_command_that_says_how_it_ended_is_taken_at_its_word_and_ended(yard):
    async with yard.worker() as boxed:
        result = await ended(boxed, BOX + "echo 'exit 4' >$box/report; " + ENDLESS)
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, 4)
        assert result.metadata["warnings"] == ["strays_ended"]
        assert await works(boxed)


@pytest.mark.parametrize("junk", ["exit", "exit 99999", "exit x", "junk", "", "\\0\\377", "missing x", "3"])
async def test_junk_about_the_end_is_not_heard(yard, junk):
    async with yard.worker() as boxed:
        result = await ended(boxed, BOX + f"printf '{junk}\\n' >$box/report; sleep 0.2; exit 3")
        assert (result.exit_code, result.metadata["warnings"]) == (3, [])


async def test_a_command_cannot_hide_what_it_leaves_by_answering_for_the_watch(yard):
    async with yard.worker() as boxed:
        liar = "(trap '' TERM; while :; do echo 'count 0'; done >$box/reply) & "
        result = await ended(boxed, BOX + liar + "sleep 0.2; exit 3")
        assert result.exit_code == 3
        assert await works(boxed)


@pytest.mark.parametrize("pipe", ["reply", "report", "control"])
async def test_a_flooded_pipe_costs_no_memory_and_nothing_else(yard, pipe):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        nursery.start_soon(boxed.do, BOX + f"yes junk >$box/{pipe} & echo here; sleep 1000")
        await boxed.says(b"here")
        await trio.sleep(1)
        assert resident_kb(boxed.shim) < 60_000
        await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=1)
        await until(lambda: boxed.manager.app.state.exit(boxed.task))
        assert boxed.processes() == {}
        await until(lambda: boxed.manager.app.state.result(boxed.task))
        assert await works(boxed)


async def test_what_a_command_buries_deep_in_its_box_is_removed_with_the_worker(yard):
    async with yard.worker() as boxed:
        dig = "i=0; cd $box; while [ $i -lt 1200 ]; do mkdir d && cd d; i=$((i+1)); done; : >treasure"
        assert (await ended(boxed, BOX + dig)).is_success()
        assert not any(boxed.boxes)
        dig = "i=0; cd /run/mahavishnu; while [ $i -lt 1200 ]; do mkdir d && cd d; i=$((i+1)); done"
        assert (await ended(boxed, dig)).is_success()
        directory = boxed.directory
    assert not (directory / "boxes").exists()
