"""Recorded runs of the real gemini, read as the engine reads them, and the contract that plugins keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from mahavishnu_gemini import hooks
from mahavishnu_gemini.parser import GeminiParser

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


@pytest.mark.parametrize("row", rows_for("gemini"), ids=str)
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
    started, *pieces, text, usage, end = reading("hello").events

    assert started == Started("6f1c2f0e-5a57-4a35-9c1e-0d5b7a1e2c44", "gemini-2.5-flash")
    assert "".join(piece.text for piece in pieces) == text.text
    assert all(piece.partial for piece in pieces)
    assert text == Text("Hello from the scripted model.")
    assert usage == Usage(Tokens(1000, 50))
    assert end == Finished(True, text="Hello from the scripted model.")


def test_thoughts_are_not_told():
    assert of_type(Thinking, "think") == []
    assert of_type(Text, "think") == [Text("I have thought about it.")]


def test_a_tool_call_and_its_result():
    before, after = of_type(Text, "tool_write")
    (call,), (result,) = of_type(ToolCall, "tool_write"), of_type(ToolResult, "tool_write")

    assert (call.name, call.input["content"]) == ("write_file", "hello from a scripted model\n")
    assert (result.call_id, result.is_error) == (call.call_id, False)
    assert before.text == "I will write the file."
    assert finished("tool_write").text == after.text


def test_two_calls_each_have_their_result():
    calls, results = of_type(ToolCall, "tool_two"), of_type(ToolResult, "tool_two")

    assert len(calls) == 2
    assert [call.call_id for call in calls] == [result.call_id for result in results]


def test_a_command_that_fails_is_no_failure_of_the_run():
    (result,) = of_type(ToolResult, "bash")

    assert {"out", "err"} <= set(result.text.split())
    assert finished("bash").success


@pytest.mark.parametrize(
    ("name", "exit_code", "reason", "error"),
    [
        ("e400", 400 % 256, "api_error", "messages: scripted bad request"),
        ("e401", 401 % 256, "auth", "invalid x-api-key"),
        ("e403", 403 % 256, "auth", "scripted: not allowed"),
        ("e429", 429 % 256, "rate_limited", "scripted rate limit"),
        ("e500", 500 % 256, "api_error", "scripted internal error"),
        ("die", 1, "api_error", "terminated"),
    ],
)
def test_a_failed_request_says_why(name, exit_code, reason, error):
    end = finished(name)

    assert SAMPLES[name].exit_code == exit_code
    assert (end.success, end.reason, end.error) == (False, reason, error)


@pytest.mark.parametrize(
    ("name", "error"),
    [("empty", "The model returned an empty response"), ("refusal", "The model response was blocked")],
)
def test_an_answer_that_is_none_is_a_failure_though_gemini_leaves_with_status_0(name, error):
    end = finished(name)

    assert SAMPLES[name].exit_code == 0
    assert (end.success, end.reason) == (False, "api_error")
    assert end.error.startswith(error)
    assert [notice.kind for notice in of_type(Notice, name)] == ["error"]


def test_a_missing_account_is_told_by_the_exit_status():
    end = finished("no_auth")

    assert (SAMPLES["no_auth"].exit_code, end.reason) == (41, "auth")
    assert end.error.startswith("When using Gemini API, you must specify the GEMINI_API_KEY")


def test_an_answer_begun_anew_holds_both_beginnings():
    assert finished("die_once").text == (
        "one two three four five six seven eight nine ten Recovered after a broken stream."
    )


def test_tokens_of_a_resumed_conversation_are_those_of_its_own():
    assert of_type(Usage, "turn_2_resume") == [Usage(Tokens(1000, 50))]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"type": "FatalTurnLimitedError", "message": "Reached max session turns"}, "max_turns"),
        ({"type": "FatalAuthenticationError", "message": "no"}, "auth"),
        ({"message": "[API Error: not JSON] in it]"}, "api_error"),
        ({}, "api_error"),
    ],
)
def test_an_error_has_one_word_for_why(error, reason):
    *_, end = GeminiParser().feed([{"type": "result", "status": "error", "error": error}])

    assert (end.success, end.reason) == (False, reason)
    assert end.error


def test_a_tool_that_failed_says_why():
    line = {"type": "tool_result", "tool_id": "t", "status": "error", "error": {"message": "no"}}

    assert list(GeminiParser().feed([line])) == [ToolResult("t", "no", is_error=True)]


@pytest.mark.parametrize("line", [{"type": "news"}, {"type": "message", "role": "news"}])
def test_what_is_not_known_is_kept(line):
    assert list(GeminiParser().feed([line])) == [Raw(line)]


def test_no_end_is_invented():
    assert list(GeminiParser().end(Exit(0), "")) == []
