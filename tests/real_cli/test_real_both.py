"""What holds for the real claude and the real qwen alike."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app
from tests.processes import lives
from tests.real_cli.site import CLAUDE, QWEN, execution

pytestmark = pytest.mark.real_cli


async def test_three_workers_at_once_give_three_whole_results(site, agent):
    done = await site.run(
        "workers", "execute", "-t", agent.type, "-n", "3", "-p", "Count", "--json", script="long"
    )
    words = " ".join(f"word{number:04d}" for number in range(1000))
    assert done.code == 0
    assert [result.output for result in done.results] == [words] * 3
    assert len({result.worker_id for result in done.results}) == 3
    assert len({result.metadata["session_id"] for result in done.results}) == 3
    for result in done.results:
        assert result.metadata["usage"]["output_tokens"] >= 2000
        assert (result.exit_code, result.metadata["turns"], result.metadata["warnings"]) == (0, 1, [])
        cost = result.metadata["cost_usd"], result.metadata["cost_origin"]
        assert cost == (None, "unknown") if agent.name == "qwen" else (cost[0] > 0 and cost[1] == "reported")


async def test_a_tool_call_does_its_work_in_the_workspace(site, agent):
    result = await site.execute(agent.type, "Write it", script="write_file")
    assert (site.work / "hello.txt").read_text() == "hello from a scripted model\n"
    assert result.is_success()
    assert result.output.startswith("Done. The tool said:")
    assert result.metadata["tool_calls"] == 1


async def test_a_second_task_on_a_worker_remembers_the_first(site, agent):
    first = await site.execute(agent.type, "My name is Ada", script="memory")
    second = await site.execute(first.worker_id, "Who am I?", script="memory")
    assert second.output == "turn 2; you said: My name is Ada | Who am I?"
    assert second.metadata["session_id"] == first.metadata["session_id"]
    assert second.metadata["task_id"] == f"{first.worker_id}.2"


async def test_a_worker_whose_engine_was_killed_finishes_and_remembers(site, agent, bell, gate):
    command = "echo here > bell; read _ < gate; echo finished work"
    async with site.start(*execution(agent.shell_type, command), script="obey") as running:
        assert await bell.line() == "here"
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
        tool = int(await bell.line())
        assert os.getsid(tool) != site.agent_pid, "both give it a session of its own"
        running.process.send_signal(signal.SIGINT)
        done = await running.done()
    assert done.code == 130
    assert not lives(tool)
    assert (done.result.status.value, done.result.metadata["reason"]) == ("cancelled", "cancelled")
    after = await site.execute(done.result.worker_id, "What was it?", script="memory")
    assert after.output == f"turn 2; you said: {command} | What was it?"


async def test_a_deadline_ends_even_a_command_that_is_deaf_to_signals(site, bell, set_environ):
    set_environ(site.environ("obey_silently"))
    command = "trap '' TERM HUP INT; echo $$ > bell; sleep 63 & sleep 64; wait"
    async with WorkerManager(load_app(config_dir=site.config)) as manager:
        workers = [
            (await manager.spawn_workers(agent.shell_type, repo=site.work))[0] for agent in (CLAUDE, QWEN)
        ]
        results = await manager.execute_batch(workers, [command] * 2, timeout_seconds=20)
    tools = [int(line) for line in await bell.lines(2)]
    assert [lives(tool) for tool in tools] == [False, False]
    assert [result.status.value for result in results] == ["timeout", "timeout"]
    assert [result.error for result in results] == ["Task timed out after 20 s"] * 2
    assert all(20 <= result.duration_seconds < 30 for result in results)


async def test_an_agent_that_is_killed_leaves_nothing_running(site, agent, bell):
    command = "trap '' HUP TERM INT; echo $$ > bell; sleep 61 & sleep 62; wait"
    async with site.start(*execution(agent.shell_type, command, "--json"), script="obey") as running:
        tool = int(await bell.line())
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


async def test_events_are_numbered_without_a_gap(site, agent):
    done = await site.run(*execution(agent.type, "Write it", "--jsonl"), script="write_file")
    *events, result = done.lines
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["task_id"] for event in events} == {result["metadata"]["task_id"]}
    kinds = [event["type"] for event in events if not event.get("partial") and event["type"] != "usage"]
    assert kinds == ["started", "text", "tool_call", "tool_result", "text", "finished"]
    assert result["type"] == "result"
    said = [event["text"] for event in events if event["type"] == "text" and not event["partial"]]
    assert said[-1] == result["output"]


async def test_any_prompt_arrives_as_it_was_given(site, agent):
    prompts = {
        "-": "-what is this? --help",
        "/": "/etc/passwd is a file",
        "unicode": "Grüße 漢字 🙂 \u202e\nline two\t\"quoted\" 'too' \\ $HOME `id` %s {prompt} end",
        "1 MB": "".join(f"line {number:07d} é\n" for number in range(65_000)) + "end",
    }
    assert len(prompts["1 MB"].encode()) > 1_000_000
    arrived: dict[str, object] = {}

    async def give(name: str) -> None:
        file = site.root / f"prompt {len(name)} {name[-1:].replace('/', '_')}"
        file.write_text(prompts[name])
        args = ["-n", "1", "-t", agent.type, "--json"]
        given = ["--prompt-file", str(file)] if name == "1 MB" else ["-p", prompts[name]]
        done = await site.run("workers", "execute", *args, *given, script="echo")
        arrived[name] = json.loads(done.result.output)["sha256"]

    async with trio.open_nursery() as nursery:
        for name in prompts:
            nursery.start_soon(give, name)
    # qwen puts two line feeds behind a prompt that it reads from its standard input
    tail = "\n\n" if agent.name == "qwen" else ""
    assert arrived == {name: _sha256(prompt + tail) for name, prompt in prompts.items()}


async def test_the_work_of_a_subagent_is_kept_apart(site, agent):
    (site.work / "notes.txt").write_text("a note\n")
    done = await site.run(*execution(agent.type, "Delegate", "--jsonl"), script="subagent")
    *events, result = done.lines
    delegated = next(event for event in events if event["type"] == "tool_call")
    inner = [event for event in events if event.get("parent")]
    assert {event["parent"] for event in inner} == {delegated["call_id"]}
    assert "tool_call" in {event["type"] for event in inner}
    own = [e["text"] for e in events if e["type"] == "text" and not e["partial"] and not e["parent"]]
    assert own == ["Delegating.", result["output"]]
    assert result["output"].startswith("The subagent said:")
    logs = await site.run("workers", "logs", result["worker_id"])
    assert "  | " in logs.out


async def test_the_logs_show_the_conversation(site, agent):
    result = await site.execute(agent.type, "Write it, please", script="write_file")
    logs = (await site.run("workers", "logs", result.worker_id)).out
    for piece in (
        f"=== {result.worker_id}.1: Write it, please\n",
        f"session {result.metadata['session_id']}",
        "\nI will write the file.\n",
        "/hello.txt\n< ",
        f"\n{result.output}\n",
        f"=== {result.worker_id}.1 completed in ",
    ):
        assert piece in logs
    raw = await site.run("workers", "logs", "--raw", result.worker_id)
    (stdout,) = site.state.glob("workers/*/tasks/*/stdout.jsonl")
    assert raw.out == stdout.read_text()


async def test_an_agent_sees_its_own_vendors_variables_and_no_mark_of_an_outer_run(site, agent):
    outer = {
        "CLAUDECODE": "1",
        "CLAUDE_CODE_ENTRYPOINT": "outer",
        "QWEN_CODE": "1",
        "PRIVATE_THING": "private",
    }
    command = "cat /proc/$PPID/environ > seen"  # its own is what the agent makes of that
    result = await site.execute(agent.shell_type, command, script="obey", env=outer)
    seen = dict(entry.split("=", 1) for entry in (site.work / "seen").read_text().split("\0") if entry)
    assert result.is_success()
    assert seen["MAHAVISHNU_TASK"] == result.metadata["task_id"]
    vendors = {name.split("_")[0] for name in seen} & {"ANTHROPIC", "OPENAI"}
    assert vendors == {"ANTHROPIC" if agent.name == "claude" else "OPENAI"}
    assert not outer.keys() & seen.keys()
    assert "MAHAVISHNU_STATE_DIR" not in seen


async def test_a_secret_is_in_no_file_of_the_state_directory_but_the_agents_own_output(site, agent):
    secret = "sk-0123456789-very-secret"
    keys = {"ANTHROPIC_API_KEY": secret, "OPENAI_API_KEY": secret}
    name = "ANTHROPIC_API_KEY" if agent.name == "claude" else "OPENAI_API_KEY"
    command = f"echo the key is ${name}"
    done = await site.run(*execution(agent.shell_type, command, "--json"), script="obey", env=keys)
    assert done.result.is_success()
    assert "the key is [redacted]" in done.result.output
    holding = {path.name for path in site.state.rglob("*") if path.is_file() and secret in _text(path)}
    assert holding == {"stdout.jsonl"}
    assert secret not in done.out + done.err
    logs = await site.run("workers", "logs", done.result.worker_id, env=keys)
    assert "the key is [redacted]" in logs.out
    assert secret not in logs.out


async def test_without_an_account_the_reason_is_told(site, agent):
    names = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")
    result = await site.execute(agent.type, "Go", env=dict.fromkeys(names))
    assert (result.status.value, result.metadata["reason"]) == ("failed", "auth")
    assert result.error.startswith({"claude": "Not logged in", "qwen": "No auth type"}[agent.name])


async def test_both_work_side_by_side_in_one_batch(site):
    batch = site.work / "tasks.jsonl"
    tasks = [
        {"id": f"{agent.name} {number}", "worker_type": agent.type, "prompt": f"number {number}"}
        for agent in (CLAUDE, QWEN)
        for number in (1, 2)
    ]
    batch.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    done = await site.run("workers", "batch", str(batch), "--json", script="memory")
    assert done.code == 0
    said = {result.metadata["item"]: result.output for result in done.results}
    assert said == {task["id"]: f"turn 1; you said: {task['prompt']}" for task in tasks}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")
