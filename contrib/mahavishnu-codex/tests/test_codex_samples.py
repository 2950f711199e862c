"""Recorded runs of the real codex, read as the engine reads them, and the contract that plugins keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from mahavishnu_codex import hooks
from mahavishnu_codex.parser import CodexParser

from mahavishnu_core import Exit, Task, Worker
from mahavishnu_core.events import (
    Finished,
    Notice,
    Raw,
    Started,
    Text,
    Thinking,
    Tokens,
    ToolCall,
    ToolResult,
    Usage,
)
from mahavishnu_core.testing import Row, rows_for
from mahavishnu_core.testing.reading import Reading, read

(TYPE,) = hooks.worker_types()
SAMPLES = {sample.name: sample for sample in hooks.samples()}
WORKER = Worker("w1", TYPE, Path("/workspace"), "")


def reading(name: str) -> Reading:
    sample = SAMPLES[name]
    task = Task("w1.1", "w1", "Go", 60.0, "s", sample.resume, "", Path("/t"))
    return read(hooks.parse_progress(WORKER, task), WORKER, task, sample)


def of_type(kind: type, name: str) -> list:
    """The events of that type without pieces of texts that follow whole."""
    return [e for e in reading(name).events if type(e) is kind and not getattr(e, "partial", False)]


def finished(name: str) -> Finished:
    (event,) = of_type(Finished, name)
    return event


@pytest.mark.parametrize("row", rows_for("codex"), ids=str)
def test_it_keeps_the_contract(row: Row) -> None:
    row.check()


def test_no_failed_run_is_taken_for_a_success():
    failed = {name for name in SAMPLES if name.startswith(("e4", "e5", "die", "resume_", "no_auth"))}
    recovered = {name for name in failed if name.endswith("_once")}

    assert {name for name in failed if reading(name).result.is_success()} == recovered


@pytest.mark.parametrize("name", SAMPLES)
def test_every_line_of_a_run_is_known(name):
    assert of_type(Raw, name) == []


def test_text_of_any_script_arrives_as_it_was_written():
    assert "Grüße 漢字 🙂" in finished("echo_unicode").text


def test_a_later_task_remembers_and_has_the_same_session():
    assert finished("turn_2_resume").text == "turn 2; you said: My name is Ada | What did I say?"
    (first,), (second,) = of_type(Started, "turn_1"), of_type(Started, "turn_2_resume")
    assert first.session_id == second.session_id


def test_a_conversation_that_is_gone_is_told():
    assert reading("resume_unknown").result.metadata["reason"] == "session_lost"


def test_hello():
    started, warning, text, usage, end = reading("hello").events

    assert started == Started(started.session_id)
    assert warning.kind == "error"  # it does not know the scripted model
    assert text == Text("Hello from the scripted model.")
    assert usage == Usage(Tokens(1000, 50))
    assert end == Finished(True, text="Hello from the scripted model.")


def test_reasoning_is_not_text():
    assert of_type(Thinking, "think") == [Thinking("Let me think about this for a moment.")]
    assert of_type(Text, "think") == [Text("I have thought about it.")]


def test_a_command_that_fails_is_no_failure_of_the_run():
    (call,), (result,) = of_type(ToolCall, "bash"), of_type(ToolResult, "bash")

    assert call.name == "command_execution"
    assert "echo out; echo err >&2" in call.input["command"]
    assert (result.call_id, result.is_error) == (call.call_id, True)
    assert {"out", "err", "/workspace"} <= set(result.text.split())
    assert finished("bash").success


def test_a_patch_is_told_once_with_what_it_changed():
    (call,), (result,) = of_type(ToolCall, "patch"), of_type(ToolResult, "patch")

    assert call.input == {"changes": [{"path": "/workspace/new.txt", "kind": "add"}]}
    assert result == ToolResult(call.call_id, "completed")


def test_two_calls_each_have_their_result():
    calls, results = of_type(ToolCall, "tool_two"), of_type(ToolResult, "tool_two")

    assert len(calls) == 2
    assert {call.call_id for call in calls} == {result.call_id for result in results}


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [
        ("e400", "api_error", "messages: scripted bad request"),
        ("e401", "auth", "unexpected status 401 Unauthorized: invalid x-api-key, url: "),
        ("e403", "auth", "unexpected status 403 Forbidden: scripted: not allowed, url: "),
        ("e429", "rate_limited", "exceeded retry limit, last status: 429 Too Many Requests"),
        ("e500", "api_error", "We’re currently experiencing high demand"),
        ("die", "api_error", "stream disconnected before completion"),
        ("refusal", "api_error", "stream disconnected before completion: Incomplete response returned"),
        ("no_auth", "auth", "Missing environment variable: `OPENAI_API_KEY`."),
    ],
)
def test_a_failed_request_says_why(name, reason, error):
    end = finished(name)

    assert SAMPLES[name].exit_code == 1
    assert (end.success, end.reason) == (False, reason)
    assert end.error.startswith(error)


def test_a_request_that_is_repeated_is_told_and_spoils_nothing():
    (notice,) = [event for event in of_type(Notice, "e429_once") if event.kind == "retry"]

    assert notice.text.startswith("Reconnecting... 1/1")
    assert finished("e429_once").text == "Recovered after a rate limit."


def test_tokens_of_a_resumed_conversation_are_not_told_since_codex_sums_them_up():
    assert b'"input_tokens":2000' in SAMPLES["turn_2_resume"].stdout
    assert of_type(Usage, "turn_2_resume") == []


def test_an_error_before_it_broke_off_is_the_reason():
    parser = CodexParser()
    parser.feed([{"type": "error", "message": "unexpected status 403 Forbidden"}])

    assert list(parser.end(Exit(1), "")) == [
        Finished(False, error="unexpected status 403 Forbidden", reason="auth")
    ]


def test_cached_input_is_counted_apart():
    usage = {
        "input_tokens": 100,
        "cached_input_tokens": 60,
        "cache_write_input_tokens": 10,
        "output_tokens": 5,
    }

    told, _ = CodexParser().feed([{"type": "turn.completed", "usage": usage}])

    assert told == Usage(Tokens(30, 5, 60, 10))


def test_a_tool_of_a_server_is_told_by_its_own_name():
    item = {"id": "i1", "type": "mcp_tool_call", "server": "s", "tool": "look", "arguments": {"a": 1}}
    ended = {**item, "status": "completed", "result": {"content": [{"type": "text", "text": "seen"}]}}
    lines = [{"type": "item.started", "item": item}, {"type": "item.completed", "item": ended}]

    assert list(CodexParser().feed(lines)) == [
        ToolCall("i1", "look", {"server": "s", "tool": "look", "arguments": {"a": 1}}),
        ToolResult("i1", "seen"),
    ]


@pytest.mark.parametrize("kind", ["news", "item.completed"])
def test_what_is_not_known_is_kept(kind):
    line = {"type": kind, "item": {"id": "i1", "type": "news"}}

    assert list(CodexParser().feed([line])) == [Raw(line)]


def test_no_end_is_invented():
    assert list(CodexParser().end(Exit(0), "")) == []
