"""What a task on the real claude or the real qwen comes to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import trio

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
        if agent is CLAUDE:
            assert result.metadata["cost_usd"] > 0
        else:
            assert result.metadata["cost_usd"] is None
        assert result.metadata["cost_origin"] == ("reported" if agent is CLAUDE else "unknown")


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
    (site.work / "long prompt").write_text(prompts["1 MB"])
    arrived: dict[str, str] = {}

    async def give(name: str) -> None:
        given = ["--prompt-file", "long prompt"] if name == "1 MB" else ["-p", prompts[name]]
        args = ["workers", "execute", "-n", "1", "-t", agent.type, *given, "--json"]
        done = await site.run(*args, script="echo")
        arrived[name] = json.loads(done.result.output)["sha256"]

    async with trio.open_nursery() as nursery:
        for name in prompts:
            nursery.start_soon(give, name)
    # qwen puts two line feeds behind a prompt that it reads from its standard input
    tail = "\n\n" if agent is QWEN else ""
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
    assert vendors == {"ANTHROPIC" if agent is CLAUDE else "OPENAI"}
    assert not outer.keys() & seen.keys()
    assert seen["MAHAVISHNU_STATE_DIR"] == str(site.state), "what it starts of ours looks where we do"


async def test_a_secret_is_in_no_file_of_the_state_directory_but_the_agents_own_output(site, agent):
    secret = "sk-0123456789-very-secret"
    keys = {"ANTHROPIC_API_KEY": secret, "OPENAI_API_KEY": secret}
    name = "ANTHROPIC_API_KEY" if agent is CLAUDE else "OPENAI_API_KEY"
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
