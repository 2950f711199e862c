"""How tasks on the real claude and qwen end when something ends them, and that nothing is left of them."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app
from mahavishnu_core.testing.processes import lives
from tests.real_cli.site import CLAUDE, QWEN, execution

pytestmark = pytest.mark.real_cli

DEAF = "trap '' TERM HUP INT; echo $$ > bell; sleep 61 & sleep 62; wait"
"""A command that no polite signal ends; it tells the bell its pid."""


async def test_a_worker_whose_engine_was_killed_finishes_and_remembers(site, agent, bell, gate):
    command = "echo here > bell; read _ < gate; echo finished work"
    async with site.start(*execution(agent.shell_type, command), script="obey") as running:
        assert await running.rung(bell) == "here"
        running.process.kill()
        await running.process.wait()
    (listed,) = (await site.run("workers", "list", "--json")).json
    assert (listed["status"], listed["worker_type"]) == ("running", agent.shell_type)

    gate.let_in()
    assert (await site.run("workers", "monitor", listed["worker_id"])).code == 0
    (listed,) = (await site.run("workers", "list", "--json")).json
    assert listed["status"] == "completed"
    (found,) = (await site.run("results", "search", "finished work", "--json")).results
    assert found.is_success()
    assert "finished work" in found.output
    after = await site.execute(found.worker_id, "What was it?", script="memory")
    assert after.output == f"turn 2; you said: {command} | What was it?"


async def test_ctrl_c_ends_a_running_command_and_the_worker_still_remembers(site, agent, bell):
    command = "echo $$ > bell; sleep 61 & sleep 62; wait"
    args = execution(agent.shell_type, command, "--json")
    async with site.start(*args, script="obey") as running:
        tool = int(await running.rung(bell))
        assert os.getsid(tool) != site.agent_pid, "both give it a session of its own"
        running.process.send_signal(signal.SIGINT)
        done = await running.done()
    assert done.code == 130
    assert not lives(tool)
    assert (done.result.status.value, done.result.metadata["reason"]) == ("cancelled", "cancelled")
    after = await site.execute(done.result.worker_id, "What was it?", script="memory")
    # claude 2.1.197 puts words of its own between, where it was ended before it wrote its tool's result down
    assert after.output in (
        f"turn 2; you said: {command} | What was it?",
        f"turn 3; you said: {command} | Continue from where you left off. | What was it?",
    )


async def test_a_deadline_ends_even_a_command_that_is_deaf_to_signals(site, bell, set_environ):
    set_environ(site.environ("obey"))
    async with WorkerManager(load_app(config_dir=site.config)) as manager:
        workers = [
            (await manager.spawn_workers(agent.shell_type, repo=site.work))[0] for agent in (CLAUDE, QWEN)
        ]
        results = await manager.execute_batch(workers, [DEAF] * 2, timeout_seconds=20)
    with trio.fail_after(1):  # on a machine so busy that no command began within the deadline
        tools = [int(line) for line in await bell.lines(2)]
    assert [lives(tool) for tool in tools] == [False, False]
    # claude ends its command when it is told to end, and hears the model's answer to that: too late
    assert [result.status.value for result in results] == ["timeout", "timeout"]
    assert [result.error for result in results] == ["Task timed out after 20 s"] * 2


async def test_an_agent_that_is_killed_leaves_nothing_running(site, agent, bell):
    async with site.start(*execution(agent.shell_type, DEAF, "--json"), script="obey") as running:
        tool = int(await running.rung(bell))
        os.kill(site.agent_pid, signal.SIGKILL)
        done = await running.done()
    assert done.code == 1
    assert not lives(tool)
    assert (done.result.status.value, done.result.metadata["reason"]) == ("failed", "signal")
    assert done.result.metadata["evidence"]["signal"] == "SIGKILL"
    strays = done.result.metadata["evidence"]["strays"]
    assert sum(stray.endswith(" sleep") for stray in strays) == 2
    assert done.result.metadata["warnings"] == ["strays_ended"]


async def test_a_command_in_the_background_does_not_outlive_the_answer(site, agent):
    result = await site.execute(agent.shell_type, "Start it", script="background")
    assert result.is_success()
    assert result.output.startswith("Started.")


async def test_words_arrive_while_the_model_speaks_and_sigterm_ends_it(site, agent):
    async with site.start(*execution(agent.type, "Talk", "--jsonl"), script="slow") as running:
        heard: list[str] = []
        while len(heard) < 3:
            line = await running.line()
            if line["type"] == "text":
                assert line["partial"]
                heard.append(line["text"])
        running.process.terminate()
        done = await running.done()
    assert "".join(heard).startswith("tick000")
    assert done.code == 143
    assert done.lines[-1]["type"] == "result"
    assert done.lines[-1]["status"] == "cancelled"
