"""Tasks in containers, from the prompt to the result: input, output, environment, limits, losses."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import contextmanager
from functools import partial

import pytest
import trio

from mahavishnu_core import WorkerStatus
from mahavishnu_core.errors import MissingError
from mahavishnu_core.testing.processes import gone, keepers

from .yard import until

pytestmark = pytest.mark.container
CANARY = "canary-6b1f9c"
ENGINE = """
import sys, trio
from mahavishnu_core import WorkerManager

async def main(worker_id, prompt):
    async with WorkerManager() as manager:
        await manager.execute_task(worker_id, prompt, timeout_seconds=40)

trio.run(main, *sys.argv[1:])
"""
"""Carries out one task, for a test that kills it meanwhile."""


# --- input and output


async def test_three_workers_have_a_container_each(yard):
    async with yard.manager() as manager:
        ids = await manager.spawn_workers("boxed", 3, repo=yard.workspace)
        results = await manager.execute_batch(ids, ["echo hello; cat /etc/hostname"] * 3)
        assert {result.worker_id for result in results if result.is_success()} == set(ids)
        assert len({result.output for result in results}) == 3
        assert len(yard.daemon.containers()) == 3
        assert await manager.close_all() == 3
        assert yard.daemon.containers() == []


async def test_output_arrives_byte_for_byte(yard):
    async with yard.worker() as boxed:
        result = await boxed.do(
            "head -c 5000000 /dev/urandom | tee copy; printf 'a\\0b\\377\\r\\n\\n' >&2; printf end"
        )
        assert result.is_success()
        assert boxed.stdout == (yard.workspace / "copy").read_bytes() + b"end"
        assert (boxed.task.directory / "stderr.log").read_bytes() == b"a\0b\xff\r\n\n"


async def test_a_prompt_of_a_megabyte_arrives_on_standard_input(yard):
    yard.add_type(agent="generic", command_template="cat")
    prompt = "ünd 'so' \"weiter\" \\ $HOME\n" * 40_000
    async with yard.worker() as boxed:
        assert (await boxed.do(prompt)).is_success()
        assert boxed.stdout == prompt.encode()


async def test_a_command_without_a_prompt_on_its_input_finds_that_empty(yard):
    async with yard.worker() as boxed:
        assert (await boxed.do("wc -c")).output.strip() == "0"


async def test_words_of_a_command_arrive_as_they_are(yard):
    yard.add_type(agent="generic", command_template="printf %s|%s {prompt} 'a b'")
    prompt = "grüße 🎉 \"q\" 'q' \\ $HOME `id` * \t\n\x01\x7f -n"
    async with yard.worker() as boxed:
        assert (await boxed.do(prompt)).is_success()
        assert boxed.stdout.decode() == f"{prompt}|a b"
        long = "x" * 120_000
        assert (await boxed.do(long)).is_success()
        assert boxed.stdout.decode() == f"{long}|a b"


async def test_a_word_that_is_no_utf8_is_refused_and_not_changed(yard):
    yard.add_type(agent="generic", command_template="printf %s {prompt}")
    async with yard.worker() as boxed:
        result = await boxed.do("caf\udce9")
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "spawn")
        assert "UTF-8" in result.error


async def test_the_exit_status_is_that_of_the_command(yard):
    async with yard.worker() as boxed:
        for code in (0, 1, 125, 126, 127, 137, 255):
            result = await boxed.do(f"echo said; exit {code}")
            assert (result.exit_code, result.is_success()) == (code, code == 0)
            assert result.metadata["reason"] == ("exit_status" if code else None)
        killed = await boxed.do("kill -KILL $$")
        assert (killed.exit_code, killed.metadata["reason"]) == (137, "exit_status")


async def test_a_program_that_is_not_in_the_image_is_said(yard):
    yard.add_type(agent="generic", command_template="no-such-program")
    async with yard.worker() as boxed:
        result = await boxed.do("a prompt")
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "spawn")
        assert "its program is not in the image" in result.error


async def test_a_program_that_cannot_be_run_is_said(yard):
    yard.add_type(agent="generic", command_template="/etc/passwd")
    async with yard.worker() as boxed:
        result = await boxed.do("a prompt")
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, 126)
        assert "ermission denied" in result.error


# --- environment


async def test_only_what_is_named_gets_in_and_no_secret_is_written_down(yard, monkeypatch):
    for name in ("CALLERS_KEY", "PASSED_KEY", "PASSED_BY_PATTERN_KEY"):
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/callers/own")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    yard.add_type(
        env={"TYPES_KEY": f"{CANARY}-type", "box": "its own", "self": "its own"},
        pass_env=["PASSED_KEY", "PASSED_BY_*"],
    )
    async with yard.worker() as boxed:
        result = await boxed.do("env | sed 's/canary-/C-/' >/tmp/env; grep -v '^HOSTNAME=' /tmp/env")
        env = dict(line.split("=", 1) for line in result.output.splitlines())
        mangled = CANARY.replace("canary-", "C-")
        assert env["TYPES_KEY"] == f"{mangled}-type"
        assert env["PASSED_KEY"] == f"{mangled}-PASSED_KEY"
        assert env["PASSED_BY_PATTERN_KEY"] == f"{mangled}-PASSED_BY_PATTERN_KEY"
        assert (env["box"], env["self"]) == ("its own", "its own"), "the supervisor has changed them"
        assert (env["PATH"], env["HOME"], env["TZ"]) == ("/bin", "/tmp/home", "Europe/Berlin")
        assert env["MAHAVISHNU_DEPTH"] == "1"
        assert env["MAHAVISHNU_PROGRESS"].startswith("/run/mahavishnu/")
        assert "CALLERS_KEY" not in env
        assert not [name for name in env if name.startswith(("DOCKER", "IN_", "PYTEST"))]
        assert CANARY not in json.dumps(boxed.container.attrs)
        state = yard.app.state.root
        files = [path for path in state.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
        assert files == []


async def test_a_secret_is_in_no_command_line_while_it_is_used(yard, monkeypatch):
    monkeypatch.setenv("PASSED_KEY", CANARY)
    yard.add_type(pass_env=["PASSED_KEY"])
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        nursery.start_soon(boxed.do, "echo here; read -r _ <gate")
        os.mkfifo(yard.workspace / "gate")
        await boxed.says(b"here")
        seen = (await trio.run_process(["ps", "-eo", "args"], capture_stdout=True)).stdout
        (yard.workspace / "gate").write_bytes(b"\n")
        assert CANARY.encode() not in seen


# --- files


async def test_files_in_the_workspace_are_the_callers_and_the_home_is_kept(yard):
    async with yard.worker() as boxed:
        assert (await boxed.do("echo 1 >made; pwd; echo kept >$HOME/note")).output == "/workspace"
        assert (yard.workspace / "made").stat().st_uid == os.geteuid()
        assert (await boxed.do("cat ~/note")).output == "kept"


@pytest.mark.parametrize("name", ["a b", "grüße 🎉", "a:b", "a,b=c", "q\"uo'te", "-leading"])
async def test_a_workspace_may_be_called_anything(yard, name):
    yard.workspace = yard.workspace / name
    yard.workspace.mkdir()
    async with yard.worker() as boxed:
        assert (await boxed.do("echo made >here")).is_success()
    assert (yard.workspace / "here").read_text() == "made\n"


async def test_a_read_only_container_can_write_only_where_it_is_to(yard):
    async with yard.worker(read_only=True, tmpfs=["/data"]) as boxed:
        result = await boxed.do(
            "for dir in / /etc /bin /var /run /tmp /data /workspace; do"
            " (: >$dir/probe) 2>/dev/null && echo $dir; done;"
            "cp /bin/busybox /data/echo && /data/echo runs; : >$HOME/x && echo home"
        )
        assert result.output.split() == ["/tmp", "/data", "/workspace", "runs", "home"]


async def test_another_user_works_beside_us(yard):
    yard.workspace.chmod(0o777)
    async with yard.worker(user="65534:65534") as boxed:
        for _ in range(2):
            result = await boxed.do("id -u; id -g; echo err >&2; : >/workspace/made; ls $HOME | wc -l")
            assert result.output.split() == ["65534", "65534", "0"]
        assert boxed.stderr == "err\n"
        listing = await boxed.do("ls /run/mahavishnu; : >/run/mahavishnu/mine")
        assert listing.output in (None, ""), "it can see or add to what is not its own"
        assert list((boxed.directory / "boxes").iterdir()) == []
    assert (yard.workspace / "made").stat().st_uid == 65534


# --- limits


async def test_a_command_that_wants_too_much_memory_is_said_to(yard):
    async with yard.worker(memory="32m") as boxed:
        result = await boxed.do("exec tail /dev/zero")
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, 137)
        assert result.metadata["reason"] == "oom"
        assert "'memory'" in result.error
        child = await boxed.do("tail /dev/zero; echo $?")
        assert (child.status, child.output) == (WorkerStatus.COMPLETED, "137")
        assert (await boxed.do("exit 137")).metadata["reason"] == "exit_status"


async def test_a_fork_bomb_is_ended_and_the_container_goes_on(yard):
    async with yard.worker(pids=64) as boxed:
        result = await boxed.do("bomb() { bomb | bomb & }; echo here; bomb; sleep 100", seconds=1)
        assert result.status is WorkerStatus.TIMEOUT
        assert boxed.processes() == {}
        assert result.metadata["warnings"] == []
        assert (await boxed.do("echo works")).output == "works"


async def test_there_is_no_network_unless_it_is_asked_for(yard):
    async with yard.worker() as boxed:
        result = await boxed.do("ls /sys/class/net; wc -l </proc/net/route")
        assert result.output.split() == ["lo", "1"]


async def test_the_limit_counts_local_tasks_and_those_in_containers(yard):
    yard.add_type()
    yard.add_type("near", place="local")
    prompt = "echo begin >>order; sleep 0.2; echo end >>order"
    async with yard.manager() as manager:
        boxed, near = await yard.spawn(manager), await yard.spawn(manager, "near")
        ids = [boxed.worker_id, near.worker_id]
        manager.engine.max_concurrent = 1
        results = await manager.execute_batch(ids, [prompt] * 2)
        assert all(result.is_success() for result in results), results
        await manager.close_all()
    assert (yard.workspace / "order").read_text().split() == ["begin", "end"] * 2


# --- workers and engines


async def test_many_tasks_in_a_row_leave_nothing_of_themselves(yard):
    async with yard.worker() as boxed:
        for number in range(12):
            assert (await boxed.do(f"echo {number}")).output == str(number)
        assert list((boxed.directory / "boxes").iterdir()) == []
        assert boxed.processes() == {}


async def test_two_engines_share_a_worker(yard):
    async with yard.manager() as manager, yard.manager(yard.same_app()) as other, trio.open_nursery() as both:
        boxed = await yard.spawn(manager)
        both.start_soon(boxed.do, "echo here; read -r _ <gate; echo there; exit 3")
        os.mkfifo(yard.workspace / "gate")
        await boxed.says(b"here")
        (report,) = other.monitor_workers([boxed.worker_id])
        assert report.status is WorkerStatus.RUNNING
        (yard.workspace / "gate").write_bytes(b"\n")
        result = await other.wait_for_task(boxed.task.task_id)
        assert (result.exit_code, result.output) == (3, "here\nthere")
        assert await other.close_worker(boxed.worker_id)


async def test_a_task_outlives_its_engine_and_the_next_one_gives_its_one_result(yard):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
    os.mkfifo(yard.workspace / "gate")
    words = [boxed.worker_id, "echo here; read -r _ <gate; echo there; exit 3"]
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, [sys.executable, "-c", ENGINE, *words], check=False)
            engine = await nursery.start(run)
            await boxed.says(b"here")
            engine.kill()
    async with yard.manager(yard.same_app()) as manager, trio.open_nursery() as nursery:
        results = []

        async def wait():
            results.append(await manager.wait_for_task(boxed.task.task_id))

        nursery.start_soon(wait)
        (yard.workspace / "gate").write_bytes(b"\n")
        await until(lambda: results)
        assert await manager.collect_results([boxed.worker_id], all_tasks=True) == results
        assert (results[0].exit_code, results[0].output) == (3, "here\nthere")
        assert results[0].metadata["warnings"] == []
        assert boxed.exit.exit_code == 3
        await manager.close_all()


# --- what is lost


async def _running(yard, boxed, nursery, prompt="echo here; sleep 1000", seconds=40):
    """The results of a task that runs; there is one as soon as it has ended."""
    results = []

    async def carry_out():
        results.append(await boxed.do(prompt, seconds))

    nursery.start_soon(carry_out)
    await boxed.says(b"here")
    return results


async def test_a_task_outlives_the_keeper(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        os.mkfifo(yard.workspace / "gate")
        results = await _running(yard, boxed, nursery, "echo here; read -r _ <gate; exit 3")
        (keeper,) = keepers(yard.app.state.root)
        os.kill(keeper.pid, signal.SIGKILL)
        await gone(keeper.pid)
        (yard.workspace / "gate").write_bytes(b"\n")
        await until(lambda: results)
        assert (results[0].exit_code, results[0].metadata["warnings"]) == (3, [])


@pytest.mark.parametrize("with_keeper", [False, True], ids=["shim", "shim and keeper"])
async def test_f2_nothing_runs_on_in_a_container_when_its_shim_is_killed(yard, with_keeper):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        results = await _running(yard, boxed, nursery, "trap '' TERM; echo here; sleep 1000 & sleep 1001")
        for process in keepers(yard.app.state.root) if with_keeper else []:
            os.kill(process.pid, signal.SIGKILL)
        os.kill(boxed.shim, signal.SIGKILL)
        await until(lambda: results)
        (result,) = results
        assert result.status is WorkerStatus.FAILED
        assert result.metadata["evidence"]["survivors"] == [f"container {boxed.container.name}"]
        await until(lambda: not boxed.processes())
        assert (await boxed.do("echo works")).output == "works"


async def test_a_container_that_is_removed_under_a_task_is_said(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        results = await _running(yard, boxed, nursery)
        boxed.container.remove(force=True)
        await until(lambda: results)
        assert (results[0].status, results[0].metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert "its container" in results[0].error
        again = await boxed.do("echo works")
        assert (again.status, again.metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert again.error == "its container is gone: close the worker, and spawn another"
        assert again.duration_seconds < 5


async def test_a_container_that_is_stopped_under_a_task_is_said_and_started_for_the_next(yard):
    async with yard.worker(tmpfs=["/data"]) as boxed, trio.open_nursery() as nursery:
        results = await _running(yard, boxed, nursery, "echo kept >~/note; echo here; sleep 1000")
        boxed.container.kill()
        await until(lambda: results)
        assert (results[0].status, results[0].metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert results[0].error == "its container stopped while it ran"
        again = await boxed.do("cat ~/note; : >/data/x && echo works")
        assert again.output.split() == ["kept", "works"]


async def test_a_container_that_somebody_paused_does_not_keep_a_task_for_ever(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        results = await _running(yard, boxed, nursery)
        boxed.container.pause()
        await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=0.2)
        await until(lambda: results)
        assert results[0].status is WorkerStatus.CANCELLED
        assert results[0].metadata["warnings"] == ["container_restarted"], boxed.stderr
        assert (await boxed.do("echo works")).output == "works"


async def test_a_paused_container_is_said_to_be_when_it_gets_a_task(yard):
    async with yard.worker() as boxed:
        boxed.container.pause()
        result = await boxed.do("echo works")
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert "paused" in result.error
        boxed.container.unpause()
        assert (await boxed.do("echo works")).output == "works"


# --- the daemon


async def test_a_task_needs_no_daemon_to_go_on(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        os.mkfifo(yard.workspace / "gate")
        results = await _running(yard, boxed, nursery, "echo here; read -r _ <gate; exit 3")
        boxed.container.top()  # a daemon that has answered us has told the shim that its command runs
        yard.daemon.kill()
        (yard.workspace / "gate").write_bytes(b"\n")
        await until(lambda: results)
        assert (results[0].exit_code, results[0].metadata["warnings"]) == (3, [])
        missing = await boxed.do("echo works")
        assert (missing.status, missing.metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert "does not answer" in missing.error
        yard.daemon.start()
        assert (await boxed.do("echo works")).output == "works", "its container is started again"


async def test_f1_a_daemon_that_is_started_again_fails_the_task_and_no_other(yard):
    yard.add_type()
    yard.add_type("near", place="local")
    async with yard.manager() as manager, trio.open_nursery() as nursery:
        boxed, near = await yard.spawn(manager), await yard.spawn(manager, "near")
        os.mkfifo(yard.workspace / "gate")
        others = await _running(yard, near, nursery, "echo here; read -r _ <gate; exit 4")
        results = await _running(yard, boxed, nursery)
        yard.daemon.kill()
        await trio.to_thread.run_sync(yard.daemon.start)
        await until(lambda: results)
        assert (results[0].status, results[0].metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert results[0].error == "its container stopped while it ran"
        assert others == []
        (yard.workspace / "gate").write_bytes(b"\n")
        await until(lambda: others)
        assert others[0].exit_code == 4
        assert (await boxed.do("echo works")).output == "works"
        await manager.close_all()


@contextmanager
def hanging(daemon):
    """A daemon that takes connections and answers nothing."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


async def test_f1_a_daemon_that_hangs_does_not_keep_what_runs_from_its_end(yard):
    async with yard.worker() as boxed, trio.open_nursery() as nursery:
        results = await _running(yard, boxed, nursery, "echo here; sleep 1000", seconds=1)
        with hanging(yard.daemon):
            await until(lambda: results)
        assert results[0].status is WorkerStatus.TIMEOUT
        assert results[0].duration_seconds < 4


async def test_a_task_for_a_daemon_that_hangs_ends_at_its_limit(yard):
    async with yard.worker() as boxed:
        with hanging(yard.daemon):
            result = await boxed.do("echo works", seconds=1)
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "container")
        assert "does not answer: timed out" in result.error
        assert result.duration_seconds < 10
        assert (await boxed.do("echo works")).output == "works"


async def test_a_worker_of_a_daemon_that_is_not_there_is_refused(yard, monkeypatch, tmp_path):
    async with yard.manager() as manager:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
        with pytest.raises(MissingError, match=r"Docker does not answer at .*nowhere\.sock: start it"):
            await yard.spawn(manager)
        assert manager.app.state.workers() == []
