"""The relay sends what an engine leaves behind; no engine waits for it, and nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from mahavishnu_core.models import Backlog, Worker, WorkerType
from mahavishnu_core.testing.processes import gone, open_files
from mahavishnu_session_buddy import dispatch, relay_process

from .faults import EVERYTHING, Drop, Silence
from .mirroring import LIMIT, UNCLOSED

STORE, FLUSH = "store_reflection", "reset_reflection_database"

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.filterwarnings(UNCLOSED)]


@pytest.fixture
def relays(monkeypatch):
    """The relays that were started here, in order."""
    started = []
    start = dispatch.start_relay

    def start_and_tell(engine):
        started.append(start(engine))
        return started[-1]

    monkeypatch.setattr(dispatch, "start_relay", start_and_tell)
    return started


async def run_tasks(mirror, count: int = 3) -> list[str]:
    """Tasks that end, each with its result, in an engine that lives no longer than they do."""
    async with mirror.manager() as manager:
        return await store_results(manager, mirror, count)


async def store_results(manager, mirror, count: int) -> list[str]:
    """Results that the engine has every storage keep."""
    state = mirror.app.state
    tasks = []
    for number in range(count):
        worker = Worker(state.new_worker_id(), WorkerType("shell", "shell"), Path("/w"), "2026-11-29")
        state.add_worker(worker)
        task = state.add_task(worker, "Go", 300)
        mirror.settle(task, f"output {number}")
        await manager.engine.store(worker, task, state.result(task))
        tasks.append(task.task_id)
    return tasks


async def all_gone(relays) -> None:
    """Return when the relays have ended; they are children of this process, and reaped by the next one."""
    with trio.fail_after(LIMIT):
        for relay in relays:
            await gone(relay._pid)


@pytest.mark.thorough
async def test_what_an_engine_has_kept_arrives_after_its_end(mirror, relays):
    tasks = await run_tasks(mirror)
    await all_gone(relays)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]
    assert mirror.outbox.waiting() == []
    assert len(relays) == 1


@pytest.mark.thorough
async def test_in_a_task_no_relay_is_left_behind_and_the_next_engine_sends(mirror, relays, monkeypatch):
    """It would be ended with the task, perhaps in the middle of sending."""
    with monkeypatch.context() as patch:
        patch.setenv("MAHAVISHNU_TASK", "k3f9a2b1.1")
        patch.setattr(dispatch, "_GATHER_SECONDS", 0)
        async with mirror.manager() as manager:
            tasks = await store_results(manager, mirror, 1)
            with trio.fail_after(LIMIT):
                while not relays:  # noqa: ASYNC110  # nobody tells of it
                    await trio.sleep(0.01)
        assert not relays[0].is_running
        assert mirror.copies(tasks[0]) == 1
        patch.setattr(dispatch, "_GATHER_SECONDS", 60)
        tasks += await run_tasks(mirror, 1)
        assert len(relays) == 1
        assert mirror.outbox.waiting() == tasks[1:]
    tasks += await run_tasks(mirror, 1)
    await all_gone(relays)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]


@pytest.mark.thorough
async def test_c5_storing_a_result_waits_for_nobody(mirror, relays):
    """The server is silent from the beginning; the engine has its results, and its end, all the same."""
    mirror.buddy.faults.set(EVERYTHING, Silence())
    tasks = await run_tasks(mirror)
    assert sorted(mirror.outbox.waiting()) == sorted(tasks)
    assert all(relay.is_running for relay in relays)
    mirror.buddy.faults.clear()
    mirror.buddy.release()
    await all_gone(relays)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]


async def test_where_nobody_listens_the_relay_ends_at_once_and_the_next_is_not_started_too_soon(
    mirror, relays
):
    mirror.buddy.refuse()
    await run_tasks(mirror)
    await all_gone(relays)
    assert mirror.outbox.failure().reason == f"nothing listens at {mirror.buddy.url}"
    await run_tasks(mirror)
    assert len(relays) == 1
    assert (await mirror.backlog()).count == 6


@pytest.mark.thorough
async def test_when_it_is_time_to_try_again_the_next_engine_has_all_of_it_sent(mirror, relays):
    mirror.buddy.refuse()
    old = await run_tasks(mirror)
    await all_gone(relays)
    mirror.buddy.start()
    os.utime(mirror.outbox.root / "failure.json")
    failure = mirror.outbox.root / "failure.json"
    failure.write_text(failure.read_text().replace('"at": ', '"at": -'))  # long ago
    new = await run_tasks(mirror)
    await all_gone(relays)
    assert {mirror.copies(task) for task in old + new} == {1}
    assert await mirror.backlog() == Backlog("session-buddy", 0)


@pytest.mark.thorough
async def test_a_relay_sees_to_what_it_finds_from_others(mirror, relays):
    left = mirror.add_results(2)
    tasks = await run_tasks(mirror, 1)
    await all_gone(relays)
    assert [mirror.copies(task) for task in left + tasks] == [1, 1, 1]


@pytest.mark.thorough
async def test_an_engine_that_is_killed_has_its_results_sent(mirror, tmp_path):
    """By the pipe the relay knows that its engine is gone, however it went."""
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    configure(mirror, "ecosystem.yaml", CAT)
    relay = relay_of_killed(script, mirror.app.environ)
    with trio.fail_after(LIMIT):
        await gone(relay)
    assert len(mirror.buddy.memory.contents) == 1
    assert mirror.outbox.waiting() == []


def relay_of_killed(script: Path, environ) -> int:
    """Run an engine until it has told of its relay, and kill it; the relay's pid."""
    words = [sys.executable, script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=dict(environ), text=True) as engine:
        relay = int(engine.stdout.readline())
        engine.kill()
    return relay


CAT = "workers: [{name: cat, agent: generic, command_template: cat, progress_tracking: lines}]"
ENGINE = """
import trio
from mahavishnu_core import WorkerManager
from mahavishnu_session_buddy import dispatch, relay_process

async def main():
    start = dispatch.start_relay
    def tell(engine):
        relay = start(engine)
        print(relay._pid, flush=True)
        return relay
    dispatch.start_relay = tell
    async with WorkerManager() as manager:
        (worker,) = await manager.spawn_workers("cat")
        await manager.execute_task(worker, "echo hello")
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.thorough
async def test_a_relay_that_is_killed_in_the_middle_of_sending_sends_nothing_twice(mirror, relays):
    mirror.buddy.faults.set(FLUSH, Silence())
    tasks = await run_tasks(mirror)
    await mirror.buddy.called(FLUSH)
    os.kill(relays[0]._pid, signal.SIGKILL)
    mirror.buddy.faults.clear()
    mirror.buddy.release()
    await all_gone(relays)
    assert sorted(mirror.outbox.waiting()) == sorted(tasks)
    assert sorted((await mirror.sync()).sent) == sorted(tasks)
    assert [mirror.copies(task) for task in tasks] == [1, 1, 1]


@pytest.mark.thorough
async def test_many_engines_at_once_have_each_result_sent_once(mirror, relays):
    tasks = []

    async def engine():
        tasks.extend(await run_tasks(mirror, 2))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(engine)
    await all_gone(relays)
    assert len(tasks) == 12
    assert {mirror.copies(task) for task in tasks} == {1}
    assert mirror.outbox.waiting() == []


@pytest.mark.thorough
async def test_relays_that_outlive_their_engine_are_reaped_by_the_next(mirror, relays):
    await run_tasks(mirror, 1)
    await all_gone(relays)
    await run_tasks(mirror, 1)
    await all_gone(relays)
    with pytest.raises(ChildProcessError):
        os.waitpid(relays[0]._pid, os.WNOHANG)  # noqa: ASYNC222


@pytest.mark.thorough
async def test_no_descriptor_is_left_of_a_relay(mirror, relays):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    await run_tasks(mirror, 1)
    await all_gone(relays)
    assert [relay.reap() for relay in relays] == [True]
    relay_process._left.clear()
    before = descriptors()
    await run_tasks(mirror, 1)
    await all_gone(relays)
    assert relays[1].reap()
    relay_process._left.clear()
    assert descriptors() == before


async def test_without_the_integration_no_file_and_no_process_is_made(mirror, relays):
    mirror.set(integration="false")
    await run_tasks(mirror)
    assert relays == []
    assert not mirror.outbox.root.exists()
    async with mirror.manager() as manager:
        assert manager.storage_failures == ()


@pytest.mark.thorough
async def test_what_was_kept_while_it_was_off_is_sent_once_it_is_on_and_asked_for(mirror, relays):
    mirror.set(integration="false")
    (task,) = await run_tasks(mirror, 1)
    mirror.set(integration="true")
    async with mirror.manager() as manager:
        state = mirror.app.state
        task_record = state.task(task)
        worker = state.worker(task_record.worker_id)
        await manager.engine.store(worker, task_record, state.result(task_record))
    await all_gone(relays)
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_nothing_is_imported_from_the_working_directory(mirror, relays, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "mahavishnu_session_buddy").mkdir(parents=True)
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')"
    for name in ("trio.py", "attrs.py", "socket.py", "mahavishnu_session_buddy/__init__.py"):
        (project / name).write_text(trap)
    monkeypatch.chdir(project)
    (task,) = await run_tasks(mirror, 1)
    await all_gone(relays)
    assert not (tmp_path / "sprung").exists()
    assert mirror.copies(task) == 1


@pytest.mark.thorough
async def test_a_relay_says_what_is_wrong_with_the_settings_it_finds(mirror, relays, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / ".mahavishnu").mkdir(parents=True)
    mirror.app.read()  # as they were when the engine began
    (project / ".mahavishnu/mahavishnu.yaml").write_text("max_concurrent_wrokers: 3\n")
    monkeypatch.chdir(project)
    await run_tasks(mirror, 1)
    await all_gone(relays)
    assert "max_concurrent_wrokers" in mirror.outbox.failure().reason
    assert len(mirror.outbox.waiting()) == 1


@pytest.mark.thorough
async def test_a_state_directory_that_is_gone_ends_the_relay(mirror, relays, tmp_path):
    import shutil

    await run_tasks(mirror, 1)
    with suppress(FileNotFoundError):
        shutil.rmtree(mirror.app.state.root)
    await all_gone(relays)


@pytest.mark.thorough
async def test_the_relay_is_told_nothing_secret_on_its_command_line(mirror, relays):
    mirror.set(token="tr0ub4dor")
    mirror.buddy.faults.set(EVERYTHING, Silence())
    await run_tasks(mirror, 1)
    await mirror.buddy.asked()  # a program that has only just begun has no words yet
    words = command_line(relays[0]._pid)
    assert b"mahavishnu_session_buddy.relay" in words
    assert b"tr0ub4dor" not in words
    mirror.buddy.faults.clear()
    mirror.buddy.release()
    await all_gone(relays)
    assert "Bearer tr0ub4dor" in mirror.buddy.tokens


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.thorough
async def test_an_engine_that_lives_on_sends_and_tries_again(mirror, relays):
    """It takes the pauses that it takes."""
    mirror.buddy.faults.set(STORE, Drop(after=True), times=1)
    async with mirror.manager() as manager:
        (task,) = await store_results(manager, mirror, 1)
        while mirror.outbox.waiting():  # noqa: ASYNC110
            await trio.sleep(0.05)
    assert mirror.copies(task) == 1
    await all_gone(relays)


async def exits(mirror) -> None:
    """An engine stores results, comes to its end, and has nothing to complain of."""
    async with mirror.manager() as manager:
        await store_results(manager, mirror, 1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert manager.storage_failures == ()


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["log", "python"])
async def test_a_relay_that_cannot_be_started_is_no_fault_of_the_run(mirror, monkeypatch, fault):
    mirror.outbox.prepare()
    if fault == "log":
        (mirror.outbox.root / "relay.log").mkdir()
    else:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    await exits(mirror)
    assert "the relay cannot be started" in mirror.outbox.failure().reason
    assert len(mirror.outbox.waiting()) == 1


@pytest.mark.thorough
async def test_a_relay_that_breaks_is_noted_and_not_started_again_at_once(mirror, relays, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # it does not even begin
    async with mirror.manager() as manager:
        await store_results(manager, mirror, 1)
        await all_gone(relays[:1] or [await first(relays)])
        while mirror.outbox.failure() is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert "the relay ended with status" in mirror.outbox.failure().reason
    assert len(relays) == 1


async def first(relays):
    while not relays:  # noqa: ASYNC110
        await trio.sleep(0.01)
    return relays[0]


@pytest.mark.thorough
async def test_a_relay_keeps_nothing_open_that_its_engines_caller_has(mirror, relays, tmp_path):
    with (tmp_path / "lock").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        mirror.buddy.faults.set(EVERYTHING, Silence())
        await run_tasks(mirror, 1)
        await mirror.buddy.asked()  # by now it has long closed what it does not need
        assert str(tmp_path / "lock") not in open_files(relays[0]._pid).values()
    mirror.buddy.faults.clear()
    mirror.buddy.release()
    await all_gone(relays)


@pytest.mark.thorough
async def test_what_is_switched_off_meanwhile_is_not_sent(mirror, relays, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the shipped settings, in the repository, are those of a project, too
    monkeypatch.delenv("MAHAVISHNU_SESSION_BUDDY_INTEGRATION")
    mirror.set()  # on, by default
    async with mirror.manager() as manager:
        tasks = await store_results(manager, mirror, 1)
        configure(mirror, "mahavishnu.yaml", "session_buddy_integration: false\n")
    await all_gone(relays)
    assert mirror.outbox.waiting() == tasks
    assert mirror.outbox.failure().reason == "it was switched off"
    assert mirror.buddy.memory.calls == []


def configure(mirror, name: str, content: str) -> None:
    """Write a file of the user's settings."""
    config = Path(mirror.app.environ["HOME"], ".config/mahavishnu")
    config.mkdir(parents=True)
    (config / name).write_text(content)


@pytest.mark.thorough
async def test_a_relay_that_is_ended_takes_the_server_along_that_it_has_started(mirror, relays, tmp_path):
    """A hanging one, which would not see that its input has ended; ``nothing_left`` looks for it."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    mirror.set(command=f"sh -c 'echo $$ > {pids}; exec sleep 1000'")
    await run_tasks(mirror, 1)
    server = int(await trio.to_thread.run_sync(pids.read_text))
    os.kill(relays[0]._pid, signal.SIGTERM)
    await all_gone(relays)
    with trio.fail_after(LIMIT):
        await gone(server)
    assert len(mirror.outbox.waiting()) == 1
