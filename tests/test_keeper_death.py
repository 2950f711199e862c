"""A keeper that is killed: what runs is found by the next one, nothing runs twice, nobody is harmed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from mahavishnu_core import keeper_link
from mahavishnu_core.errors import StateDirError
from mahavishnu_core.keeper.family import boot_id, read_process
from mahavishnu_core.keeper_link import open_keeper
from mahavishnu_core.testing.processes import gone, keepers, lives
from tests.keeping import SHELL

if TYPE_CHECKING:
    from mahavishnu_core.models import Task


async def kill_keeper(bench, number=signal.SIGKILL):
    """End the keeper, and return when it has ended."""
    pid = bench.keeper()
    os.kill(pid, number)
    await gone(pid)


async def test_d1_a_command_goes_on_and_is_found_again(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; echo the end; exit 3")
        await run.started()
        await kill_keeper(bench)
        async with bench.link() as other:
            assert await other.watch(run.task).state() == "running"
        gate.let_in()
        ended = await run.wait()
    assert (run.task.directory / "stdout.jsonl").read_bytes() == b"the end\n"
    assert (ended.exit_code, ended.signal, ended.error, ended.is_known) == (None, None, None, False)
    assert bench.state.exit(run.task) == ended


async def test_the_deadline_is_still_enforced(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "echo $$ > bell; exec sleep 60", timeout=1)
        pid = int(await bell.line())
        await kill_keeper(bench)
        ended = await run.wait()
    assert not lives(pid)
    assert (ended.cause, ended.is_known, ended.survivors) == ("wall", False, ())


async def test_a_family_can_still_be_ended_with_all_that_carries_its_mark(either, bell):
    script = "trap '' TERM; (setsid sleep 60 & echo $! > bell); echo $$ > bell; while :; do sleep 0.05; done"
    async with either.link() as link:
        run = either.sh(link, script)
        pids = [int(line) for line in await bell.lines(2)]
        await kill_keeper(either)
        await run.end("cancelled", 0)
        ended = await run.wait()
    assert [lives(pid) for pid in pids] == [False, False]
    assert (ended.cause, ended.survivors) == ("cancelled", ())


async def test_an_end_that_the_killed_keeper_did_not_hear_of_is_asked_for_again(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "echo up > bell; exec sleep 60")
        await bell.line()
        await run.started()
        os.kill(bench.keeper(), signal.SIGSTOP)
        await run.end("idle", 0)
        await kill_keeper(bench)
        ended = await run.wait()
    assert (ended.cause, ended.is_known) == ("idle", False)


STARTS_A_KEEPER = """
import sys, trio
from pathlib import Path
from mahavishnu_core.keeper_link import connect

async def main():
    async with await connect(Path(sys.argv[1])):
        print("up", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_keeper_that_a_command_has_started_is_not_ended_with_it(either, bell, gate):
    """As when an agent calls us just after the keeper was killed."""
    script = f"read _ < gate; exec {sys.executable} -c '{STARTS_A_KEEPER}' {either.state.root} > bell"
    async with either.link() as link:
        run = either.sh(link, script)
        await run.started()
        os.kill(either.keeper(), signal.SIGSTOP)
    await kill_keeper(either)
    gate.let_in()
    with trio.fail_after(20):
        await bell.line()
    keeper = either.keeper()
    async with open_keeper(either.state.root) as link:
        other = either.sh(link, "read _ < gate; exit 3")
        await other.started()
        found = link.watch(run.task)
        await found.end("cancelled", 0)
        ended = await found.wait()
        assert either.keeper() == keeper
        gate.let_in()
        assert (await other.wait()).exit_code == 3
    assert (ended.cause, ended.survivors) == ("cancelled", ())


async def test_a_command_that_ended_unseen_has_an_unknown_exit(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "echo $$ > bell; read _ < gate")
        pid = int(await bell.line())
        await run.started()
        os.kill(bench.keeper(), signal.SIGSTOP)  # it sees nothing any more, the engine's end neither
    await kill_keeper(bench)
    gate.let_in()
    await gone(pid)
    async with bench.link() as link:
        ended = await link.watch(run.task).wait()
    assert (ended.exit_code, ended.signal, ended.error, ended.cause) == (None, None, None, None)
    assert ended.ended
    assert bench.state.exit(run.task) == ended


@pytest.mark.thorough
async def test_what_outlived_a_command_that_ended_unseen_is_ended_and_named(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "setsid sleep 60 & echo $! > bell; echo $$ > bell; exec sleep 61")
        stray, pid = [int(line) for line in await bell.lines(2)]
        await run.started()
        os.kill(bench.keeper(), signal.SIGSTOP)
    await kill_keeper(bench)
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    async with bench.link() as link:
        ended = await link.watch(run.task).wait()
    assert not lives(stray)
    assert (ended.is_known, ended.strays) == (False, (f"{stray} sleep",))


async def test_a_command_is_found_by_its_mark_where_the_keeper_died_before_it_wrote_it_down(
    bench, bell, gate
):
    async with bench.link() as link:
        run = bench.sh(link, "echo $$ > bell; read _ < gate; echo the end")
        await bell.line()
        await run.started()
        os.kill(bench.keeper(), signal.SIGSTOP)
    await kill_keeper(bench)
    (run.task.directory / "launch.json").unlink()
    async with bench.link() as link:
        found = link.watch(run.task)
        assert await found.state() == "running"
        gate.let_in()
        await found.wait()
    assert (run.task.directory / "stdout.jsonl").read_bytes() == b"the end\n"


async def test_a_command_that_has_written_was_started_though_nothing_else_says_so(bench):
    task = bench.task()
    (task.directory / "stdout.jsonl").touch()
    async with bench.link() as link:
        ended = await link.watch(task).wait()
    assert (ended.error, ended.is_known) == (None, False)


async def test_a_task_that_was_never_started_is_said_to_be_so_and_not_started(bench):
    task = bench.task()
    async with bench.link() as link:
        ended = await link.watch(task).wait()
    assert (ended.cause, ended.error) == ("cancelled", "its engine ended before it could be started")


async def test_a_task_that_somebody_ends_before_its_engine_has_started_it_is_said_to_be_cancelled(bench):
    task = bench.task()
    async with bench.link() as link:
        run = link.watch(task)
        await run.end("cancelled", 1)
        ended = await run.wait()
    assert (ended.cause, ended.error) == ("cancelled", "cancelled before it was started")


@pytest.mark.parametrize("name", ["exit.json", "result.json"])
async def test_a_task_that_another_engine_has_ended_before_it_began_is_not_started(bench, name):
    task = bench.task()
    (task.directory / name).write_text('{"cause": "cancelled"}')
    async with bench.link() as link:
        ended = await link.launch(task, bench.launch(task, SHELL, "-c", "echo ran >> log")).wait()
    assert (ended.cause, ended.is_known) == ("cancelled", False)
    assert not (bench.cwd / "log").exists()


@pytest.mark.parametrize("name", ["exit.json", "launch.json"])
async def test_a_file_that_a_power_cut_has_emptied_is_as_good_as_none(bench, name):
    task = bench.task()
    (task.directory / "stdout.jsonl").touch()
    (task.directory / name).touch()
    async with bench.link() as link:
        ended = await link.watch(task).wait()
    assert (ended.error, ended.is_known) == (None, False)
    assert bench.state.exit(task) == ended


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def claim(task: Task, pid: int, **lies: object) -> None:
    """Have a task's record say that its command is that process."""
    process = read_process(pid)
    record = {"pid": pid, "start_time": process.start, "boot_id": boot_id(), "began": 0, "deadline": 0}
    record |= {"group": None, "shim": "", "slotless": False, "idle": None, "needs_result": False}
    (task.directory / "launch.json").write_text(json.dumps(record | lies))
    (task.directory / "stdout.jsonl").touch()


LIES = [
    {"start_time": 1},
    {"boot_id": "another"},
    {"idle": 10**400},
    {"began": -1},
    {"deadline": 10**400},
    {"began": float("nan")},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: str(lie)[:30])
async def test_d3_a_reused_pid_is_never_mistaken_for_the_command(bench, bystander, lie):
    task = bench.task()
    claim(task, bystander.pid, **lie)
    async with bench.link() as link:
        run = link.watch(task)
        await run.end("cancelled", 0)
        ended = await run.wait()
    assert bystander.poll() is None
    assert (ended.is_known, ended.cause, ended.strays, ended.survivors) == (False, None, (), ())


async def test_one_that_cannot_be_found_again_for_whatever_reason_costs_the_others_nothing(bench, bell, gate):
    await bench.start_keeper("import mahavishnu_core.keeper.kept as kept; kept.find_again = None")
    task = bench.task()
    (task.directory / "stdout.jsonl").touch()
    async with bench.link() as link:
        other = bench.sh(link, "echo up > bell; read _ < gate")
        await bell.line()
        ended = await link.watch(task).wait()
        gate.let_in()
        assert (await other.wait()).exit_code == 0
    assert str(ended.error).startswith("it cannot be found again, see keeper.log: ")
    assert task.task_id in (bench.state.root / "keeper.log").read_text()


async def test_the_same_record_without_a_lie_is_believed(bench, bystander):
    """So that the test above cannot pass for another reason."""
    task = bench.task()
    claim(task, bystander.pid)
    async with bench.link() as link:
        ended = await link.watch(task).wait()
    assert bystander.wait() == -signal.SIGTERM
    assert (ended.is_known, ended.cause) == (False, "wall")


async def test_waiting_commands_of_a_living_engine_are_started_by_the_next_keeper(bench, gate):
    async with bench.link() as link:
        first = bench.sh(link, "read _ < gate", limit=1)
        await first.started()
        waiting = bench.sh(link, "echo ran >> log", limit=1)
        await kill_keeper(bench)
        gate.let_in()
        assert (await waiting.wait()).exit_code == 0
    assert (bench.cwd / "log").read_text() == "ran\n"


async def test_a_waiting_command_that_was_ended_as_its_keeper_died_is_not_started(bench, gate):
    async with bench.link() as link:
        first = bench.sh(link, "read _ < gate", limit=1)
        await first.started()
        waiting = bench.sh(link, "echo ran >> log", limit=1)
        os.kill(bench.keeper(), signal.SIGSTOP)
        await waiting.end("cancelled", 5)
        await kill_keeper(bench)
        ended = await waiting.wait()
        gate.let_in()
        await first.wait()
    assert ended.cause == "cancelled"
    assert not (bench.cwd / "log").exists()


@pytest.mark.thorough
async def test_d1_however_often_the_keeper_dies_every_command_runs_once(bench, bell):
    async with bench.link() as link:
        runs = [bench.start(link, SHELL, "-c", f"echo {n} >> log; echo > bell", limit=4) for n in range(50)]
        for _ in range(8):
            await bell.lines(4)
            for process in keepers(bench.state.root):
                if str(process.pid) in (bench.state.root / "keeper.lock").read_text().split():
                    os.kill(process.pid, signal.SIGKILL)  # else it is a command that is being born
        for run in runs:
            await run.wait()
    assert sorted(map(int, (bench.cwd / "log").read_text().split())) == list(range(50))


async def test_an_idle_engine_finds_another_keeper_when_it_needs_one(bench):
    async with bench.link() as link:
        await bench.sh(link, "exit 0").wait()
        await kill_keeper(bench)
        assert (await bench.sh(link, "exit 2").wait()).exit_code == 2


async def test_a_keeper_that_hangs_can_be_killed_and_nothing_is_lost(bench, gate):
    async with bench.link() as link:
        os_run = bench.sh(link, "read _ < gate")
        await os_run.started()
        os.kill(bench.keeper(), signal.SIGSTOP)
        late = bench.sh(link, "echo late >> log")
        with trio.move_on_after(0.1) as waited:
            await late.started()
        assert waited.cancelled_caught
        await kill_keeper(bench)
        assert (await late.wait()).exit_code == 0
        gate.let_in()
        await os_run.wait()
    assert (bench.cwd / "log").read_text() == "late\n"


async def test_a_command_without_limit_and_slot_is_found_again_as_one(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "echo up > bell; read _ < gate", timeout=None, limit=1, slotless=True)
        await bell.line()
        await run.started()
        await kill_keeper(bench)
        assert (await bench.sh(link, "exit 4", limit=1).wait()).exit_code == 4
        record = json.loads((run.task.directory / "launch.json").read_text())
        gate.let_in()
        await run.wait()
    assert (record["deadline"], record["slotless"]) == (None, True)


async def test_what_runs_keeps_its_slot_whichever_engine_comes_first(bench, bell, gate):
    async with bench.link() as link:
        running = bench.sh(link, "echo up > bell; read _ < gate", limit=1, detached=True)
        await bell.line()
        await running.started()
        await kill_keeper(bench)
    async with bench.link() as other:  # which knows nothing of it
        waiting = bench.sh(other, "exit 4", limit=1, detached=True)
        assert await waiting.state() == "queued"
        gate.let_in()
        assert (await waiting.wait()).exit_code == 4
    assert not bench.state.exit(running.task).is_known


async def test_what_ended_while_no_keeper_was_there_is_written_down_by_the_next(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "echo $$ > bell; read _ < gate", detached=True)
        pid = int(await bell.line())
        await run.started()
        await kill_keeper(bench)
    gate.let_in()
    await gone(pid)
    async with bench.link() as other:
        assert (await bench.sh(other, "exit 4").wait()).exit_code == 4
    assert not bench.state.exit(run.task).is_known


async def test_files_that_make_no_sense_do_not_keep_a_keeper_from_its_work(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "echo up > bell; read _ < gate", detached=True)
        await bell.line()
        await run.started()
        await kill_keeper(bench)
    for name, content in (("launch.json", '{"boot_id": 7}'), ("task.json", "[]")):
        (run.task.directory / name).write_text(content)
        (bench.state.root / "open/no-task").touch()
        async with bench.link() as other:
            assert (await bench.sh(other, "exit 4").wait()).exit_code == 4
    gate.let_in()


async def test_d1_a_command_that_runs_waits_for_a_keeper_and_one_that_does_not_has_failed(
    bench, bell, gate, monkeypatch
):
    """As where no process is to be had just when the keeper was lost."""
    start, refusals = keeper_link._start_keeper, [StateDirError("no process is to be had")] * 2

    async def refuse_first(state_dir: Path) -> None:
        if refusals:
            raise refusals.pop()
        await start(state_dir)

    async with bench.link() as link:
        run = bench.sh(link, "echo up > bell; read _ < gate; echo the end", limit=1)
        waiting = bench.sh(link, "echo never", limit=1)
        await bell.line()
        await run.started()
        monkeypatch.setattr(keeper_link, "_start_keeper", refuse_first)
        await kill_keeper(bench)
        assert (await waiting.wait()).error == "no process is to be had"
        gate.let_in()
        ended = await run.wait()
    assert (ended.error, ended.is_known, refusals) == (None, False, [])
    assert (run.task.directory / "stdout.jsonl").read_bytes() == b"the end\n"


async def test_what_runs_is_left_to_a_later_engine_where_no_keeper_is_to_be_had(
    bench, bell, gate, monkeypatch
):
    start = keeper_link._start_keeper

    async def refuse(state_dir: Path) -> None:
        raise StateDirError("no process is to be had")

    monkeypatch.setattr(keeper_link, "_LOST_PATIENCE", 0.5)
    async with bench.link() as link:
        run = bench.sh(link, "echo up > bell; read _ < gate; echo the end")
        await bell.line()
        await run.started()
        monkeypatch.setattr(keeper_link, "_start_keeper", refuse)
        await kill_keeper(bench)
        with pytest.raises(StateDirError, match="no process is to be had"):
            await run.wait()
        with pytest.raises(StateDirError, match="no process is to be had"):
            await link.watch(run.task).state()
    assert bench.state.exit(run.task) is None
    monkeypatch.setattr(keeper_link, "_start_keeper", start)
    async with bench.link() as link:
        found = link.watch(run.task)
        assert await found.state() == "running"
        gate.let_in()
        await found.wait()
