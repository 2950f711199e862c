"""The keeper itself: one per state directory, small, private, hard to harm, gone when it is not needed."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import sys

import attrs
import pytest
import trio

from mahavishnu_core.errors import StateDirError
from mahavishnu_core.keeper.family import read_process
from mahavishnu_core.keeper.server import SPARE_FILES
from mahavishnu_core.keeper_link import connect, open_keeper
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.processes import environment, gone, keepers, lives, open_files, resident_kb


async def test_it_leaves_when_nothing_is_left_to_keep_and_comes_again(bench):
    pids = []
    for _ in range(2):
        async with bench.link() as link:
            assert (await bench.sh(link, "exit 0").wait()).exit_code == 0
            pids.append(bench.keeper())
        with trio.fail_after(20):
            await gone(pids[-1])
        assert not (bench.state.root / "keeper.sock").exists()
    assert pids[0] != pids[1]
    assert (bench.state.root / "keeper.log").read_text() == ""


async def test_it_stays_as_long_as_a_command_runs(bench, gate):
    async with bench.link() as link:
        await bench.sh(link, "read _ < gate").started()
        pid = bench.keeper()
    async with bench.link() as link:
        await bench.sh(link, "exit 0").wait()
        assert bench.keeper() == pid
        gate.let_in()


async def test_however_many_engines_begin_at_once_there_is_one_keeper(bench):
    streams: list[trio.SocketStream] = []

    async def begin() -> None:
        streams.append(await connect(bench.state.root))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(begin)
        assert len(streams) == 12
        assert len(keepers(bench.state.root)) == 1
        for stream in streams:
            await stream.aclose()


async def test_a_directory_that_is_gone_is_a_clear_error(tmp_path):
    with pytest.raises(StateDirError, match=r"^the keeper of '.*/gone' did not start: .*No such file"):
        await connect(tmp_path / "gone")


async def test_that_no_program_can_be_started_for_it_is_a_clear_error(bench, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StateDirError, match=r"^the keeper of '.*/state' cannot be started: .*No such file"):
        await connect(bench.state.root)


async def test_a_long_path_in_any_letters_is_no_obstacle(bench):
    deep = StateDir(bench.cwd / ("Zustände-" * 12) / ("状態" * 20) / ("x" * 100))
    deep.prepare()
    assert len(str(deep.root)) > 200
    there = attrs.evolve(bench, state=deep)
    done = await there.run_sh("echo here")
    assert (done.exit.exit_code, done.stdout) == (0, b"here\n")


async def test_it_is_private_and_has_nothing_of_its_engine(bench, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "a canary")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    async with bench.link() as link:
        await bench.sh(link, "exit 0").wait()
        pid = bench.keeper()
        given, files, process = environment(pid), open_files(pid), read_process(pid)
    modes = {name: (bench.state.root / name).stat().st_mode for name in ("keeper.lock", "keeper.log")}
    assert given == b""
    assert [files[fd] for fd in (0, 1, 2)] == ["/dev/null", "/dev/null", str(bench.state.root / "keeper.log")]
    assert f"pipe:[{os.fstat(write).st_ino}]" not in files.values()
    assert (process.session, process.parent) == (pid, 1)
    assert {name: stat.S_IMODE(mode) for name, mode in modes.items()} == dict.fromkeys(modes, 0o600)
    for fd in (read, write):
        os.close(fd)


async def test_its_socket_is_for_its_owner_alone(bench):
    async with bench.link() as link:
        await bench.sh(link, "exit 0").wait()
        mode = (bench.state.root / "keeper.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_it_stays_under_20_mb_with_50_commands(bench, bell, gate):
    async with bench.link() as link:
        runs = [bench.sh(link, "echo up > bell; read _ < gate") for _ in range(50)]
        await bell.lines(50)
        resident = resident_kb(bench.keeper())
        gate.let_in(50)
        for run in runs:
            await run.wait()
    assert resident < 20_000


LAUNCH = {
    "op": "launch",
    "task_id": "a.1",
    "directory": "/nowhere",
    "argv": ["/bin/true"],
    "stdin": "/dev/null",
    "cwd": "/",
    "env": {},
    "umask": 18,
    "timeout": 5,
    "limit": 10,
    "detached": False,
}
GARBAGE = [
    b"",
    b"\xff\xfe",
    b"hello",
    b"1",
    b"null",
    b"[]",
    b"{}",
    b"[" * 100_000,
    b'{"op": "dance"}',
    b'{"op": "end", "task_id": "a.1"}',
    json.dumps(LAUNCH | {"limit": "many"}).encode(),
    json.dumps(LAUNCH | {"timeout": [1]}).encode(),
    json.dumps(LAUNCH | {"task_id": ["a.1"]}).encode(),
    json.dumps(LAUNCH | {"surprise": 1}).encode(),
]
ENDLESS = b"x" * (17 << 20)
NO_COMMANDS = [
    {"argv": 1},
    {"argv": [1]},
    {"env": []},
    {"cwd": {}},
    {"umask": "x"},
    {"timeout": float("nan")},
    {"directory": 7},
]


@pytest.mark.thorough
async def test_garbage_on_its_socket_harms_nobody(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        pid = bench.keeper()
        for said in [*(line + b"\n" for line in GARBAGE), ENDLESS]:
            async with await connect(bench.state.root) as stream:
                await _say(stream, said)
                assert await _last_word(stream) == b"", said[:80]
        assert bench.keeper() == pid
        gate.let_in()
        assert (await run.wait()).exit_code == 3


@pytest.mark.parametrize("change", NO_COMMANDS, ids=str)
async def test_a_launch_that_makes_no_sense_harms_nobody(bench, gate, change):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        pid = bench.keeper()
        task = bench.task()
        message = LAUNCH | {"task_id": task.task_id, "directory": str(task.directory)} | change
        async with await connect(bench.state.root) as stream:
            await stream.send_all(json.dumps(message).encode() + b"\n")
            await stream.receive_some()
        assert bench.keeper() == pid
        gate.let_in()
        assert (await run.wait()).exit_code == 3


async def _say(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        return  # it has heard enough


async def _last_word(stream: trio.SocketStream) -> bytes:
    try:
        return await stream.receive_some()
    except trio.BrokenResourceError:
        return b""


async def test_a_command_may_have_no_deadline(bench):
    assert (await bench.run_sh("exit 3", timeout=float("inf"))).exit.exit_code == 3


async def test_engines_beyond_its_open_files_wait_and_the_commands_go_on(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        _, hard = resource.prlimit(bench.keeper(), resource.RLIMIT_NOFILE)
        resource.prlimit(bench.keeper(), resource.RLIMIT_NOFILE, (SPARE_FILES + 2, hard))
        async with bench.link() as second:
            assert await second.watch(run.task).state() == "running"
            async with open_keeper(bench.state.root) as third:
                waiting = third.watch(run.task)
                with trio.move_on_after(0.2) as waited:
                    await waiting.state()
                assert waited.cancelled_caught
                gate.let_in()
                assert (await run.wait()).exit_code == 3
                assert len(keepers(bench.state.root)) == 1
        async with bench.link() as fourth:
            assert (await bench.sh(fourth, "exit 4").wait()).exit_code == 4


async def test_term_ends_all_families_and_writes_their_exits(bench, bell):
    async with bench.link() as link:
        running = [bench.sh(link, "setsid sleep 60 & echo $! > bell; sleep 60", limit=2) for _ in range(2)]
        pids = [int(line) for line in await bell.lines(2)]
        waiting = bench.sh(link, "echo ran >> log", limit=2, detached=True)
        await waiting.state()
        keeper = bench.keeper()
    os.kill(keeper, signal.SIGTERM)
    with trio.fail_after(20):
        await gone(keeper)
    assert [lives(pid) for pid in pids] == [False, False]
    ended = [bench.state.exit(run.task) for run in (*running, waiting)]
    assert [exit_.cause for exit_ in ended] == ["cancelled"] * 3
    by_term = {("SIGTERM", None), (None, 128 + signal.SIGTERM)}  # a shell whose child was first says 143
    assert {(exit_.signal, exit_.exit_code) for exit_ in ended[:2]} <= by_term
    assert not ended[2].is_known
    assert not (bench.cwd / "log").exists()


async def test_hangup_and_interrupt_do_not_end_it(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        for number in (signal.SIGHUP, signal.SIGINT):
            os.kill(bench.keeper(), number)
        gate.let_in()
        assert (await run.wait()).exit_code == 3


def forbid_writing(pid):
    """What a full disk does to a process, for anybody and on any file system."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def allow_writing(pid):
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def test_an_exit_that_cannot_be_written_is_told_and_written_later(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        keeper = bench.keeper()
        forbid_writing(keeper)
        gate.let_in()
        ended = await run.wait()
        assert bench.state.exit(run.task) is None
    async with bench.link() as link:
        assert await link.watch(run.task).wait() == ended
    assert lives(keeper)
    allow_writing(keeper)
    with trio.fail_after(20):
        await gone(keeper)
    assert bench.state.exit(run.task) == ended
    assert ended.exit_code == 3


async def test_a_command_is_kept_though_its_start_cannot_be_written_down(bench, gate):
    async with bench.link() as link:
        await bench.sh(link, "exit 0").wait()
        forbid_writing(bench.keeper())
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        assert not bench.state.was_launched(run.task)
        allow_writing(bench.keeper())
        gate.let_in()
        ended = await run.wait()
    assert ended.exit_code == 3
    assert bench.state.was_launched(run.task)


async def test_a_directory_that_was_removed_holds_nobody_up(bench, gate):
    async with bench.link() as link:
        run = bench.sh(link, "read _ < gate; exit 3")
        await run.started()
        run.task.directory.rename(bench.cwd / "elsewhere")
        keeper = bench.keeper()
        gate.let_in()
        assert (await run.wait()).exit_code == 3
    with trio.fail_after(20):
        await gone(keeper)
