"""The real claude as a worker in a container without a network: it hears the scripted model by a socket."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from mahavishnu_core import WorkerStatus
from tests.keeping import Fifo
from tests.real_cli.site import execution

from .corner import INSIDE, Corner, running_in

pytestmark = pytest.mark.container
TYPE, BASH = "claude-boxed", "claude-boxed-bash"
ALLOWED = "claude --output-format stream-json --permission-mode acceptEdits --allowedTools Bash"
DEAF = "trap '' TERM HUP INT; echo here > bell; sleep 61 & sleep 62; wait"
SECRET = "sk-0123456789-very-secret"


@pytest.fixture
def offer(daemon, claude, model, model_socket, tmp_path, nothing_left):
    """Makes a corner whose settings offer claude, as the document says, and once with its shell."""

    def offer(**options) -> Corner:
        corner = Corner(
            tmp_path,
            model,
            {**daemon.environ, "ANTHROPIC_UNIX_SOCKET": f"{INSIDE}/{model_socket.name}"},
        )
        corner.prepare()
        mounts = [{"source": str(model_socket.parent), "target": INSIDE}]
        given = {"image": claude, "mounts": mounts, "network": "none", "pull": "never", **options}
        boxed = {"agent": "claude", "place": "container", "options": given}
        corner.offer({"name": TYPE, **boxed}, {"name": BASH, "command_template": ALLOWED, **boxed})
        return corner

    return offer


@pytest.fixture
def corner(offer):
    return offer()


@pytest.fixture
def fifo(corner):
    """Makes a FIFO in the workspace."""
    made = []

    def make(name: str) -> Fifo:
        made.append(Fifo.make(corner.work / name))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def test_a_text_comes_back_whole_with_session_usage_and_cost(corner):
    async with corner.manager("long") as manager:
        (worker,) = await manager.spawn_workers(TYPE, repo=corner.work)
        result = await manager.execute_task(worker, "Count")
        await manager.close_all()
    assert result.output == " ".join(f"word{number:04d}" for number in range(1000))
    assert (result.status, result.exit_code) == (WorkerStatus.COMPLETED, 0)
    assert result.metadata["session_id"]
    assert result.metadata["usage"]["output_tokens"] >= 2000
    assert result.metadata["cost_usd"] > 0
    assert result.metadata["cost_origin"] == "reported"
    assert (result.metadata["turns"], result.metadata["warnings"]) == (1, [])


async def test_a_second_task_on_a_worker_remembers_the_first(corner):
    async with corner.manager("memory") as manager:
        (worker,) = await manager.spawn_workers(TYPE, repo=corner.work)
        first = await manager.execute_task(worker, "My name is Ada")
    async with corner.manager("memory") as manager:
        second = await manager.execute_task(worker, "Who am I?")
        await manager.close_all()
    assert second.output == "turn 2; you said: My name is Ada | Who am I?"
    assert second.metadata["session_id"] == first.metadata["session_id"]


@pytest.mark.parametrize(
    ("uid", "options"),
    [(os.geteuid(), {}), (65534, {"user": "65534", "read_only": True})],
    ids=["as the caller", "as nobody"],
)
async def test_a_tool_call_writes_a_file_of_its_users_into_the_workspace(offer, uid, options):
    corner = offer(**options)
    if options:
        corner.work.chmod(0o777)
    async with corner.manager("write_file") as manager:
        (worker,) = await manager.spawn_workers(TYPE, repo=corner.work)
        result = await manager.execute_task(worker, "Write it")
        await manager.close_all()
    assert result.is_success(), result
    assert result.output.startswith("Done. The tool said:")
    assert result.metadata["tool_calls"] == 1
    written = corner.work / "hello.txt"
    assert written.read_text() == "hello from a scripted model\n"
    assert written.stat().st_uid == uid


async def test_a_deadline_ends_it_and_its_deaf_command_and_the_container_takes_the_next_task(
    corner, daemon, fifo
):
    bell = fifo("bell")
    async with corner.manager("obey") as manager:
        (worker,) = await manager.spawn_workers(BASH, repo=corner.work)
        result = await manager.execute_task(worker, DEAF, timeout_seconds=5)
    with trio.fail_after(1):
        assert await bell.line() == "here"
    assert (result.status, result.error) == (WorkerStatus.TIMEOUT, "Task timed out after 5 s")
    assert running_in(daemon.client, worker) == []
    async with corner.manager("hello") as manager:
        after = await manager.execute_task(worker, "Are you there?")
        await manager.close_all()
    assert after.output == "Hello from the scripted model."


async def test_a_task_whose_engine_was_killed_is_adopted_with_one_result(corner, fifo):
    bell, gate = fifo("bell"), fifo("gate")
    command = "echo here > bell; read _ < gate; echo finished work"
    async with corner.start(*execution(BASH, command), script="obey") as running:
        assert await running.rung(bell) == "here"
        running.process.send_signal(signal.SIGKILL)
        await running.process.wait()
    async with corner.manager("memory") as manager:
        (found,) = manager.monitor_workers()
        assert found.status is WorkerStatus.RUNNING
        gate.let_in()
        (task,) = corner.state.glob("workers/*/tasks/*")
        result = await manager.wait_for_task(task.name)
        assert result.is_success(), result
        assert "finished work" in result.output
        assert await manager.collect_results() == [result]
        after = await manager.execute_task(result.worker_id, "What was it?")
        assert after.output == f"turn 2; you said: {command} | What was it?"
        await manager.close_all()


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [("e401", "auth", "Invalid API key"), ("e529", "api_error", "529 Overloaded")],
)
async def test_no_failure_of_the_model_counts_as_an_answer(corner, script, reason, words):
    async with corner.manager(script) as manager:
        (worker,) = await manager.spawn_workers(TYPE, repo=corner.work)
        result = await manager.execute_task(worker, "Go")
        await manager.close_all()
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, reason)
    assert words in result.error


@pytest.mark.whole
async def test_the_command_runs_it_as_a_user_would_and_nothing_of_the_key_is_kept(corner, daemon):
    env = {"ANTHROPIC_API_KEY": SECRET}
    done = await corner.run(*execution(TYPE, "Write it", "--json"), script="write_file", env=env)
    assert done.code == 0, done.err
    assert done.result.output.startswith("Done. The tool said:")
    assert (corner.work / "hello.txt").stat().st_uid == os.geteuid()
    logs = await corner.run("workers", "logs", done.result.worker_id)
    assert "I will write the file." in logs.out
    holding = [path for path in corner.state.rglob("*") if path.is_file() and SECRET in _text(path)]
    assert holding == []
    closed = await corner.run("workers", "close", "--all")
    assert closed.code == 0, closed.err
    assert daemon.containers() == []


def _text(path):
    return path.read_bytes().decode("latin-1")
