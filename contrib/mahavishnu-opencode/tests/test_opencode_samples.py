"""Recorded runs of the real opencode, read as the engine reads them, and the contract that plugins keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from mahavishnu_opencode import hooks
from mahavishnu_opencode.parser import OpenCodeParser

from mahavishnu_core import Exit, Task, Worker
from mahavishnu_core.events import (
    Finished,
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


@pytest.mark.parametrize("row", rows_for("opencode"), ids=str)
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
    started, text, usage, end = reading("hello").events

    assert started == Started(started.session_id)
    assert started.session_id.startswith("ses_")
    assert text == Text("Hello from the scripted model.")
    assert usage == Usage(Tokens(1000, 50), 0.00375)
    assert end == Finished(True, text="Hello from the scripted model.")


def test_reasoning_is_not_text():
    assert of_type(Thinking, "think") == [Thinking("Let me think about this for a moment.")]
    assert of_type(Text, "think") == [Text("I have thought about it.")]


def test_a_tool_call_and_its_result_and_the_sum_of_two_steps():
    (call,), (result,) = of_type(ToolCall, "tool_write"), of_type(ToolResult, "tool_write")

    assert (call.name, call.input["content"]) == ("write", "hello from a scripted model\n")
    assert result == ToolResult(call.call_id, "Wrote file successfully.")
    assert of_type(Usage, "tool_write")[-1] == Usage(Tokens(2000, 100), 0.0075)
    assert finished("tool_write").text == "Done. The tool said: Wrote file successfully."


def test_two_calls_each_have_their_result():
    calls, results = of_type(ToolCall, "tool_two"), of_type(ToolResult, "tool_two")

    assert len(calls) == 2
    assert [call.call_id for call in calls] == [result.call_id for result in results]


def test_a_command_that_fails_is_no_failure_of_the_run():
    (result,) = of_type(ToolResult, "bash")

    assert {"out", "err"} <= set(result.text.split())
    assert finished("bash").success


def test_of_a_subagent_its_answer_is_told_alone():
    (call,), (result,) = of_type(ToolCall, "subagent"), of_type(ToolResult, "subagent")

    assert call.name == "task"
    assert "The subagent has read the notes." in result.text


def test_a_tool_that_is_refused_ends_the_task_unfinished_though_with_status_0():
    (result,), end = of_type(ToolResult, "permission"), finished("permission")

    assert SAMPLES["permission"].exit_code == 0
    assert result.is_error
    assert (end.success, end.reason) == (False, "needs_permission")
    assert end.error.startswith("! permission requested: bash")


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [
        ("e400", "api_error", "messages: scripted bad request"),
        ("e401", "auth", "invalid x-api-key"),
        ("e403", "auth", "scripted: not allowed"),
        ("e429", "rate_limited", "scripted rate limit"),
        ("e500", "api_error", "scripted internal error"),
        ("die", "api_error", "Connection reset by server"),
        ("refusal", "refusal", "The response was blocked by the provider's content filter"),
        ("model_unknown", "api_error", "Unexpected server error. Check server logs for details."),
    ],
)
def test_a_failed_request_says_why(name, reason, error):
    end = finished(name)

    assert SAMPLES[name].exit_code == 1
    assert (end.success, end.reason, end.error) == (False, reason, error)


def step(reason: str) -> list[dict]:
    return [
        {"type": "step_start", "sessionID": "ses_1", "part": {}},
        {"type": "text", "sessionID": "ses_1", "part": {"text": "words"}},
        {"type": "step_finish", "sessionID": "ses_1", "part": {"reason": reason}},
    ]


def end_of(lines: list[dict], exit: Exit) -> list[Finished]:
    parser = OpenCodeParser()
    before = [event for event in parser.feed(lines) if type(event) is Finished]
    return [*before, *parser.end(exit, "")]


def test_only_a_step_that_stopped_is_an_answer():
    assert end_of(step("stop"), Exit(0)) == [Finished(True, text="words")]
    for reason in ("tool-calls", "length", "content-filter", "error", "unknown"):
        (end,) = end_of(step(reason), Exit(0))
        assert (end.success, end.reason) == (False, "unfinished")


@pytest.mark.parametrize("exit", [Exit(1), Exit(signal="SIGTERM"), Exit()])
def test_an_exit_that_is_not_clean_is_no_success(exit):
    assert end_of(step("stop"), exit) == []


def test_a_step_that_was_begun_and_not_ended_is_no_answer():
    assert end_of([*step("stop"), *step("stop")[:2]], Exit(0)) == []


def test_nothing_said_is_no_answer():
    assert end_of([], Exit(0)) == []


def test_the_reasoning_of_a_model_counts_as_output():
    tokens = {"input": 10, "output": 5, "reasoning": 3, "cache": {"read": 70, "write": 2}}
    line = {"type": "step_finish", "part": {"reason": "stop", "tokens": tokens}}

    assert list(OpenCodeParser().feed([line])) == [Usage(Tokens(10, 8, 70, 2))]


@pytest.mark.parametrize("line", [{"type": "news"}, {"type": "text", "part": {}}])
def test_what_is_not_known_is_kept(line):
    assert list(OpenCodeParser().feed([line])) == [Raw(line)]


def test_a_cost_of_nothing_is_an_unknown_one():
    line = {"type": "step_finish", "part": {"reason": "stop", "cost": 0, "tokens": {"input": 5}}}
    assert [event.cost_usd for event in OpenCodeParser().feed([line])] == [None]


def test_costs_without_measure_can_still_be_written():
    lines = [{"type": "step_finish", "part": {"reason": "stop", "cost": 1e308}}] * 2

    assert [event.cost_usd for event in OpenCodeParser().feed(lines)] == [1e9, 1e9]
