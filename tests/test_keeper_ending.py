"""How commands come to their end: by themselves, at the deadline, when asked; and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mahavishnu_core.keeper import kept
from mahavishnu_core.keeper.family import Process, read_process
from mahavishnu_core.keeper.kept import Kept
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.agents import agent, all_agents
from mahavishnu_core.testing.processes import gone, left_by_test, lives, wait_until_gone
from tests.keeping import Bench, Done

TO_THE_DEADLINE = {
    "closes_stdout": "SIGTERM",
    "drip_forever": "SIGTERM",
    "floods_after_term": "SIGKILL",
    "fork_storm": "SIGTERM",
    "goes_silent": "SIGTERM",
    "ignores_hup_and_int": "SIGKILL",
    "no_main_thread": "SIGKILL",
    "result_then_hang": "SIGTERM",
    "silent_forever": "SIGTERM",
    "stops_itself": "SIGTERM",
    "talks_forever": "SIGTERM",
    "term_immune_family": "SIGKILL",
}
BY_THEMSELVES = dict.fromkeys(set(all_agents()) - set(TO_THE_DEADLINE), 0) | {
    "segv": "SIGSEGV",
    "segv_after_result": "SIGSEGV",
    "stderr_only_death": 3,
    "success_exit_1": 1,
}
DEADLINE = 1.0
PROMPT = b"say \xff and \xe2\x82\xac" * 10_000


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    """All agents at once, each as it has ended; with control groups and without."""
    path = tmp_path_factory.mktemp("gallery")
    ended = trio.run(_run_both, path)
    left = wait_until_gone(partial(left_by_test, path), seconds=5)
    assert not left
    return ended


@pytest.fixture(params=[True, False], ids=["groups", "no groups"])
def gallery(request, galleries):
    return galleries[request.param]


async def _run_both(path: Path) -> dict[bool, dict[str, Done]]:
    ended: dict[bool, dict[str, Done]] = {}

    async def run(has_groups: bool) -> None:
        state = StateDir(path / str(has_groups) / "state")
        state.prepare()
        ended[has_groups] = await _run_all(Bench(state, state.root.parent, has_groups))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, True)
        nursery.start_soon(run, False)
    return ended


async def _run_all(bench: Bench) -> dict[str, Done]:
    async with bench.link() as link:
        runs = {
            name: bench.start(
                link, *agent(name), timeout=DEADLINE if name in TO_THE_DEADLINE else 20, stdin=PROMPT
            )
            for name in all_agents()
        }
        return {name: Done(await run.wait(), run.task.directory) for name, run in runs.items()}


@pytest.mark.parametrize(("name", "expected"), sorted(BY_THEMSELVES.items()))
def test_an_agent_that_ends_by_itself_ends_as_it_likes(gallery, name, expected):
    ended = gallery[name].exit
    assert expected in (ended.exit_code, ended.signal)
    assert (ended.cause, ended.error) == (None, None)


@pytest.mark.parametrize(("name", "expected"), TO_THE_DEADLINE.items())
def test_an_agent_that_goes_on_is_ended_at_its_deadline(gallery, name, expected):
    ended = gallery[name].exit
    assert (ended.cause, ended.signal) == ("wall", expected)
    assert ended.duration_seconds >= DEADLINE


@pytest.mark.parametrize("name", all_agents())
def test_nothing_survives_the_end_of_an_agent(gallery, name):
    assert gallery[name].exit.survivors == ()


@pytest.mark.parametrize("name", [name for name, by in TO_THE_DEADLINE.items() if by == "SIGKILL"])
def test_nobody_is_killed_before_the_grace_has_passed(gallery, name):
    assert gallery[name].exit.duration_seconds >= DEADLINE + kept.TERM_GRACE


@pytest.mark.parametrize("name", ["pipe_heir", "double_fork"])
def test_what_outlives_a_command_is_ended_and_named(gallery, name):
    (stray,) = gallery[name].exit.strays
    pid, _, program = stray.partition(" ")
    assert not lives(int(pid))
    assert program.startswith(("sleep", "python"))


def test_an_agent_that_leaves_nothing_has_no_strays(gallery):
    quiet = set(all_agents()) - {"pipe_heir", "double_fork", "hidden_daemon"}
    assert {name: gallery[name].exit.strays for name in quiet} == dict.fromkeys(quiet, ())


def test_a_prompt_of_any_bytes_comes_back_from_a_good_agent(gallery):
    *_, result = gallery["good"].stdout.splitlines()
    assert json.loads(result)["result"].encode("utf-8", "surrogateescape") == PROMPT


def test_a_flood_on_standard_error_is_kept_whole(gallery):
    assert len(gallery["stderr_flood"].stderr) == 8 * 1024 * 1024
    assert gallery["stderr_flood"].stdout.count(b"\n") == 3


def test_the_output_of_agents_is_as_bad_as_they_promise(gallery):
    out = {name: done.stdout for name, done in gallery.items()}
    assert not out["half_line"].endswith(b"\n")
    assert set(out["drip_forever"]) == set(b" ")
    assert [b'"result"' in out[name] for name in ("no_result", "segv", "stderr_only_death")] == [False] * 3
    assert out["dup_result"].count(b'"type": "result"') == 2
    assert out["result_then_hang"].count(b'"type": "result"') == 1
    assert b"\xff\xfe\x80" in out["bad_utf8"]
    assert b"\x1b]52" in gallery["ansi_osc"].stderr
    assert len(out["floods_after_term"]) > 1_000_000


def test_an_agent_learns_nothing_that_it_was_not_given(gallery):
    *_, result = gallery["leak_env"].stdout.splitlines()
    told = json.loads(json.loads(result)["result"])
    assert set(told["environment"]) - {"LC_CTYPE"} == {"PATH", "MAHAVISHNU_TASK"}
    assert told["parent"][-2].endswith("/state")


async def test_term_comes_before_kill(bench, bell):
    script = "trap 'echo told; exit 9' TERM; echo up > bell; while :; do sleep 0.05; done"
    async with bench.link() as link:
        run = bench.sh(link, script)
        await bell.line()
        await run.end("idle", 20)
        ended = await run.wait()
    assert (ended.exit_code, ended.cause) == (9, "idle")
    assert (run.task.directory / "stdout.jsonl").read_text() == "told\n"


async def test_a_grace_of_nothing_kills_at_once(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "trap '' TERM; echo up > bell; while :; do sleep 0.05; done")
        await bell.line()
        await run.end("cancelled", 0)
        ended = await run.wait()
    assert (ended.signal, ended.cause, ended.survivors) == ("SIGKILL", "cancelled", ())


async def test_a_second_end_hastens_the_first_whose_cause_stands(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "trap '' TERM; echo up > bell; while :; do sleep 0.05; done")
        await bell.line()
        await run.end("idle", 1000)
        await run.end("cancelled", 0)
        ended = await run.wait()
    assert (ended.signal, ended.cause) == ("SIGKILL", "idle")


async def test_no_later_end_puts_off_an_earlier_one(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "trap '' TERM; echo up > bell; while :; do sleep 0.05; done", timeout=1000)
        await bell.line()
        await run.end("idle", 0.1)
        await run.end("cancelled", 1000)
        ended = await run.wait()
    assert (ended.signal, ended.cause) == ("SIGKILL", "idle")


async def test_the_end_of_a_command_that_has_ended_changes_nothing(bench):
    async with bench.link() as link:
        run = bench.sh(link, "exit 4")
        ended = await run.wait()
        await run.end("cancelled", 0)
        after = await bench.sh(link, "exit 5").wait()
    assert (ended.exit_code, ended.cause, after.exit_code) == (4, None, 5)
    assert json.loads((run.task.directory / "exit.json").read_bytes())["exit_code"] == 4


@pytest.mark.thorough
async def test_a_daemon_that_hides_is_found_and_named(either):
    """It has no mark, no session and no parent of ours."""
    done = await either.run(*agent("hidden_daemon"))
    (stray,) = done.exit.strays
    assert stray.endswith(" sleep")
    assert not lives(int(stray.split()[0]))


HIDE = "env -i setsid /bin/sh -c 'echo $$ > bell; exec sleep 60' </dev/null >/dev/null 2>&1 &"


@pytest.mark.thorough
async def test_the_end_of_one_task_harms_nobody_of_another(either, bell, gate, second_gate):
    """Not even a daemon of it that hides, and could be anybody's who was there when it began."""
    async with either.link() as link:
        leaver = either.sh(link, f"read _ < gate; {HIDE}")
        neighbour = either.sh(link, f"setsid sleep 60 & ({HIDE}); echo $! > bell; read _ < gate2")
        await leaver.started()
        pids = [int(line) for line in await bell.lines(2)]
        gate.let_in()
        hidden = int(await bell.line())
        left = await leaver.wait()
        assert [lives(pid) for pid in pids] == [True, True]
        second_gate.let_in()
        ended = await neighbour.wait()
    assert (left.exit_code, ended.exit_code) == (0, 0)
    assert {int(stray.split()[0]) for stray in ended.strays} >= set(pids)
    assert not any(lives(pid) for pid in (*pids, hidden))


@pytest.mark.thorough
async def test_who_has_lost_its_mark_is_known_by_its_session(bare, bell, gate):
    script = HIDE.replace("setsid ", "")
    async with bare.link() as link:
        neighbour = bare.sh(link, "read _ < gate")
        await neighbour.started()
        ended = await bare.sh(link, f"({script})").wait()
        pid = int(await bell.line())
        assert (ended.strays, lives(pid)) == ((f"{pid} sleep",), False)
        gate.let_in()
        assert (await neighbour.wait()).strays == ()


@pytest.mark.thorough
async def test_who_began_after_a_daemon_cannot_have_left_it(bare, bell, gate, second_gate):
    async with bare.link() as link:
        leaver = bare.sh(link, f"{HIDE} read _ < gate")
        daemon = read_process(int(await bell.line()))
        while True:
            younger = bare.sh(link, "echo $$ > bell; read _ < gate2")
            if read_process(int(await bell.line())).start > daemon.start:
                break  # the kernel counts in hundredths of a second
            second_gate.let_in()
            await younger.wait()
        gate.let_in()
        ended = await leaver.wait()
        second_gate.let_in()
    assert ended.strays == (f"{daemon.pid} sleep",)


async def test_what_ends_by_itself_soon_after_its_command_is_no_stray(bench, gate):
    done = await bench.run_sh("(read _ < gate; echo last words) & echo > gate")
    assert (done.exit.exit_code, done.exit.strays, done.stdout) == (0, (), b"last words\n")


async def test_a_command_that_ends_just_before_it_is_ended_has_ended_by_itself(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "sleep 60 & echo $$ > bell; read _ < gate")
        pid = int(await bell.line())
        os.kill(bench.keeper(), signal.SIGSTOP)
        gate.let_in()
        await gone(pid)
        await run.end("after_result", 0)
        await wait_all_tasks_blocked()  # now it lies in the keeper's socket
        os.kill(bench.keeper(), signal.SIGCONT)
        ended = await run.wait()
    assert (ended.exit_code, ended.cause) == (0, None)
    (stray,) = ended.strays
    assert stray.split()[1] in {"sleep", "sh"}  # it may not have come to its program yet


async def test_the_deadline_holds_when_no_engine_is_there(bench, bell):
    ended = await bench.run_alone(bell, "echo $$ > bell; exec sleep 60", timeout=0.3)
    assert (ended.signal, ended.cause) == ("SIGTERM", "wall")


def test_what_cannot_be_ended_is_reported_instead_of_waited_for():
    nobody = Process(pid=1 << 30, parent=1, session=1 << 30, is_zombie=False, start=0, name="stuck")
    command = Kept("t.1", "/nowhere", nobody, began=0.0, deadline=10.0, is_child=True)
    family = {nobody.pid: nobody}
    killed_at = 10.0 + kept.TERM_GRACE
    steps = [command.next_step(now, family) for now in (9.9, 10.0, killed_at, killed_at + 4.9)]
    assert steps == [False] * 4
    assert command.next_step(killed_at + kept.GIVE_UP, family)
    record = command.exit_record(30.0, family.values())
    assert (record["survivors"], record["cause"]) == ([f"{1 << 30} stuck"], "wall")


def test_one_that_floods_once_it_was_asked_to_end_has_no_grace_left(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(kept, "send", lambda number, family: sent.append(number))
    process = read_process(os.getpid())
    command = Kept("w.1", str(tmp_path), process, 0.0, 100.0, is_child=True)
    (tmp_path / "stdout.jsonl").write_bytes(b"said")
    command.ask_to_end(1.0, "cancelled", 50)
    os.truncate(tmp_path / "stdout.jsonl", 4 + kept.MOST_AFTER_TERM)
    command.next_step(2.0, {process.pid: process})
    assert signal.SIGKILL not in sent
    os.truncate(tmp_path / "stdout.jsonl", 5 + kept.MOST_AFTER_TERM)
    command.next_step(3.0, {process.pid: process})
    assert sent[-1] == signal.SIGKILL
