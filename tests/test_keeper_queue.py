"""The limit that all engines of a state directory share, the order of what waits, and engines that go."""

from __future__ import annotations

import sys

import trio

from mahavishnu_core.testing.processes import gone, lives


def most_at_once(log):
    """How many commands ran together at most, by their own record."""
    running = most = 0
    for line in log.read_text().splitlines():
        running += 1 if line == "+" else -1
        most = max(most, running)
    return most


async def test_two_engines_together_never_run_more_than_the_limit(bench):
    script = "echo + >> log; sleep 0.02; echo - >> log"
    async with bench.link() as first, bench.link() as second:
        runs = [bench.sh(link, script, limit=3) for _ in range(12) for link in (first, second)]
        codes = [(await run.wait()).exit_code for run in runs]
    assert codes == [0] * 24
    assert (bench.cwd / "log").read_text().count("+") == 24
    assert most_at_once(bench.cwd / "log") <= 3


async def test_as_many_run_as_the_limit_allows_and_the_others_wait(bench, bell, gate):
    async with bench.link() as link, bench.link() as other:
        runs = [bench.sh(link, "echo up > bell; read _ < gate", limit=2) for _ in range(4)]
        await bell.lines(2)
        states = [await other.watch(run.task).state() for run in runs]
        gate.let_in(4)
        for run in runs:
            await run.wait()
    assert states == ["running", "running", "queued", "queued"]


async def test_waiting_commands_start_in_the_order_in_which_they_came(bench, gate):
    async with bench.link() as first, bench.link() as second:
        await bench.sh(first, "read _ < gate", limit=1).started()
        runs = []
        for number, link in enumerate([second, first, first, second, first]):
            runs.append(bench.sh(link, f"echo {number} >> order", limit=1, detached=True))
            assert await runs[-1].state() == "queued"
        gate.let_in()
        for run in runs:
            await run.wait()
    assert (bench.cwd / "order").read_text().split() == ["0", "1", "2", "3", "4"]


async def test_a_waiting_command_that_is_ended_never_runs(bench, gate):
    async with bench.link() as link:
        first = bench.sh(link, "read _ < gate", limit=1)
        await first.started()
        waiting = bench.sh(link, "echo ran >> log", limit=1)
        last = bench.sh(link, "exit 0", limit=1)
        await waiting.end("cancelled", 5)
        ended = await waiting.wait()
        gate.let_in()
        assert (await last.wait()).exit_code == 0
    assert (ended.cause, ended.exit_code, ended.is_known) == ("cancelled", None, False)
    assert (waiting.task.directory / "exit.json").exists()
    assert not (bench.cwd / "log").exists()


async def test_an_engine_that_watches_hears_of_the_end_too(bench, gate):
    async with bench.link() as link, bench.link() as other:
        run = bench.sh(link, "read _ < gate; exit 6")
        await run.started()
        watched = other.watch(run.task)
        assert await watched.state() == "running"
        gate.let_in()
        assert await run.wait() == await watched.wait()
    assert (await watched.wait()).exit_code == 6


async def test_when_an_engine_goes_its_running_commands_go_on_and_its_waiting_ones_are_dropped(bench, gate):
    async with bench.link() as other:
        async with bench.link() as link:
            running = bench.sh(link, "read _ < gate; echo ran >> log; exit 3", limit=1)
            await running.started()
            dropped = bench.sh(link, "echo dropped >> log", limit=1)
            detached = bench.sh(link, "echo detached >> log; exit 4", limit=1, detached=True)
            assert await detached.state() == "queued"
            watched = [other.watch(run.task) for run in (running, dropped, detached)]
            assert [await run.state() for run in watched] == ["running", "queued", "queued"]
        lost = await watched[1].wait()
        gate.let_in()
        codes = [(await watched[0].wait()).exit_code, (await watched[2].wait()).exit_code]
    assert (lost.cause, lost.exit_code) == ("cancelled", None)
    assert lost.error == "its engine ended before it could be started"
    assert codes == [3, 4]
    assert (bench.cwd / "log").read_text().split() == ["ran", "detached"]


async def test_exit_json_is_written_when_no_engine_is_left_to_hear_of_it(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        keeper = bench.keeper()
    gate.let_in()
    with trio.fail_after(20):
        await gone(keeper)
    ended = bench.state.exit(run.task)
    assert ended is not None
    assert ended.exit_code == 3


async def test_a_detached_command_is_started_after_its_engine_and_all_others_have_gone(bench, gate):
    async with bench.link() as link:
        await bench.sh(link, "read _ < gate", limit=1).started()
        detached = bench.sh(link, "echo ran", limit=1, detached=True)
        await detached.state()
        keeper = bench.keeper()
    gate.let_in()
    with trio.fail_after(20):
        await gone(keeper)
    assert (detached.task.directory / "stdout.jsonl").read_bytes() == b"ran\n"


ENGINE = """
import sys, trio
from mahavishnu_core.keeper.spawn import Launch
from mahavishnu_core.keeper_link import open_keeper
from mahavishnu_core.state import StateDir
from pathlib import Path

async def main():
    state = StateDir(Path(sys.argv[1]))
    task = state.task(sys.argv[2])
    argv = ["/bin/sh", "-c", sys.argv[3]]
    env = {"PATH": "/usr/bin:/bin", "MAHAVISHNU_TASK": task.task_id}
    words = (task.task_id, str(task.directory), argv, "/dev/null", sys.argv[4], env)
    launch = Launch(*words, umask=0o22, timeout=60, limit=10, detached=False)
    async with open_keeper(state.root) as link:
        link.launch(task, launch)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_killed_engine_leaves_its_command_running_for_the_next_one(bench, bell, gate):
    task = bench.task(60)
    script = "echo $$ > bell; read _ < gate; echo the end; exit 5"
    words = [str(bench.state.root), task.task_id, script, str(bench.cwd)]
    engine = await trio.lowlevel.open_process([sys.executable, "-c", ENGINE, *words])
    with trio.fail_after(20):
        pid = int(await bell.line())
        engine.kill()
        await engine.wait()
    assert lives(pid)
    async with bench.link() as link:
        found = link.watch(task)
        assert await found.state() == "running"
        gate.let_in()
        ended = await found.wait()
    assert ended.exit_code == 5
    assert (task.directory / "stdout.jsonl").read_bytes() == b"the end\n"


async def test_a_slotless_command_begins_at_once_and_leaves_the_slots_to_others(bench, bell, gate):
    async with bench.link() as link:
        slotless = bench.sh(link, "echo up > bell; read _ < gate", limit=1, slotless=True)
        await bell.line()
        running = bench.sh(link, "echo up > bell; read _ < gate", limit=1)
        await bell.line()
        waiting = bench.sh(link, "echo up > bell", limit=1, detached=True)
        assert await waiting.state() == "queued"
        other = bench.sh(link, "echo up > bell; read _ < gate", limit=1, slotless=True)
        await bell.line()
        gate.let_in(3)
        for run in (slotless, running, waiting, other):
            assert (await run.wait()).exit_code == 0


async def test_one_more_than_may_wait_is_refused_at_once_and_the_others_get_their_turn(bench, bell, gate):
    await bench.start_keeper("server.MOST_QUEUED = 2")
    async with bench.link() as link:
        running = bench.sh(link, "echo up > bell; read _ < gate", limit=1)
        await bell.line()
        waiting = [bench.sh(link, "echo turn", limit=1) for _ in range(2)]
        refused = bench.sh(link, "echo turn", limit=1, detached=True)
        slotless = bench.sh(link, "echo up > bell", limit=1, slotless=True)
        assert (
            await refused.wait()
        ).error == "not begun: 2 commands wait for a slot already, and that is the most"
        assert (await slotless.wait()).exit_code == 0
        gate.let_in()
        assert [(await run.wait()).exit_code for run in (running, *waiting)] == [0, 0, 0]
