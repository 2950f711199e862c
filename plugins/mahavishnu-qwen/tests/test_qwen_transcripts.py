"""Recorded runs of the real qwen, read as the engine reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core import Exit
from mahavishnu_core.events import (
    Event,
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
from mahavishnu_core.stream import StreamReader
from mahavishnu_qwen.parser import QwenParser

RUNS = Path(__file__).parents[1] / "mahavishnu_qwen/samples"
NAMES = sorted(path.stem for path in RUNS.glob("*.jsonl"))


def facts(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


def read(name: str, cuts: tuple[int, ...] = ()) -> list[Event]:
    """The events of a run whose output comes in pieces, cut at these bytes."""
    output, run = (RUNS / f"{name}.jsonl").read_bytes(), facts(name)
    ends = [*sorted(cut % (len(output) + 1) for cut in cuts), len(output)]
    reader = StreamReader(QwenParser(resumed="--resume" in run["argv"]), "stream-json")
    events: list[Event] = []
    start = 0
    for end in ends:
        events += reader.feed(output[start:end])
        start = end
    return [*events, *reader.end(Exit(run["exit_code"], run["signal"]), run["stderr"])]


def whole(name: str) -> list[Event]:
    """The events without pieces of texts that follow whole."""
    return [event for event in read(name) if not getattr(event, "partial", False)]


def of_type(kind: type, name: str) -> list:
    return [event for event in whole(name) if type(event) is kind]


def finished(name: str) -> Finished:
    (event,) = of_type(Finished, name)
    return event


def session_of(name: str) -> str:
    argv = facts(name)["argv"]
    return argv[argv.index("--resume" if "--resume" in argv else "--session-id") + 1]


def test_hello():
    started, text, so_far, usage, end = whole("hello")

    assert started == Started(session_of("hello"), "scripted-qwen", facts("hello")["version"], "yolo")
    assert text == Text("Hello from the scripted model.")
    assert so_far == Usage(Tokens(1000, 50))
    assert usage == Usage(Tokens(2000, 100), None)  # with the request that qwen makes for its memory
    assert end == Finished(True, text="Hello from the scripted model.", turns=1)


def test_pieces_make_up_the_text_that_follows_whole():
    events = read("partials")
    pieces = [event.text for event in events if type(event) is Text and event.partial]
    (text,) = [event.text for event in events if type(event) is Text and not event.partial]

    assert len(pieces) > 1
    assert "".join(pieces) == text == finished("partials").text


def test_text_of_any_script_arrives_as_it_was_written():
    assert "Grüße 漢字 🙂" in finished("echo_unicode").text


def test_thinking_is_not_text():
    assert of_type(Thinking, "think") == [Thinking("Let me think about this for a moment.")]
    assert of_type(Text, "think") == [Text("I have thought about it.")]


def test_a_tool_call_and_its_result():
    (call,), (result,) = of_type(ToolCall, "tool_write"), of_type(ToolResult, "tool_write")

    assert call.name == "write_file"
    assert call.input["content"] == "hello from a scripted model\n"
    assert result.call_id == call.call_id
    assert not result.is_error
    assert "Successfully created" in result.text


def test_two_calls_in_one_message_each_have_their_result():
    calls, results = of_type(ToolCall, "tool_two"), of_type(ToolResult, "tool_two")

    assert [call.name for call in calls] == ["write_file", "write_file"]
    assert [result.call_id for result in results] == [call.call_id for call in calls]


def test_a_command_that_fails_is_no_failure_of_the_run():
    (result,) = of_type(ToolResult, "bash")

    assert "out\nerr" in result.text
    assert finished("bash").success


def test_what_a_subagent_does_carries_the_call_that_began_it():
    begin, read_call = of_type(ToolCall, "subagent")
    inner, outer = of_type(ToolResult, "subagent")

    assert (begin.name, begin.parent) == ("agent", None)
    assert (read_call.name, read_call.parent) == ("read_file", begin.call_id)
    assert (inner.call_id, inner.parent) == (read_call.call_id, begin.call_id)
    assert (outer.call_id, outer.parent) == (begin.call_id, None)
    assert not any("SUBTASK" in text.text for text in of_type(Text, "subagent"))


def test_the_tokens_of_a_subagent_count():
    assert of_type(Usage, "subagent")[-1] == Usage(Tokens(4000, 200), None)


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [
        ("e400", "api_error", "400 messages: scripted bad request"),
        ("e401", "auth", "401 invalid x-api-key"),
        ("e403", "auth", "403 scripted: not allowed"),
        ("e500_quick", "api_error", "500 scripted internal error"),
        ("empty", "api_error", "Model stream ended with empty response text."),
        ("refusal", "api_error", "Model stream ended with empty response text."),
    ],
)
def test_a_failed_request_is_a_failure_though_qwen_calls_it_a_success(name, reason, error):
    assert facts(name)["exit_code"] == 0
    assert finished(name) == Finished(False, text="", error=error, reason=reason, turns=1)


def test_an_answer_that_broke_off_is_a_failure_that_keeps_what_was_said():
    end = finished("die")

    assert facts("die")["exit_code"] == 0
    assert not end.success
    assert end.reason == "api_error"
    assert end.error.startswith("terminated")
    assert end.text == "one two three four five six seven eight nine ten "


def test_a_repeated_request_leaves_no_mark_on_the_result():
    assert finished("e429_once") == Finished(True, text="Recovered after a rate limit.", turns=1)


def test_the_turn_limit_is_told_by_the_exit_status():
    end = finished("max_turns")

    assert facts("max_turns")["exit_code"] == 53
    assert (end.success, end.reason) == (False, "max_turns")
    assert end.error.startswith("Reached max session turns")


def test_tokens_are_known_where_no_result_comes():
    assert of_type(Usage, "max_turns")[-1] == Usage(Tokens(3000, 150))


def test_a_conversation_that_is_gone_is_told_by_standard_error():
    end = finished("resume_unknown")

    assert (end.success, end.reason) == (False, "session_lost")
    assert end.error.startswith(f"No saved session found with ID {session_of('resume_unknown')}")


def test_a_missing_account_is_told():
    end = finished("no_auth")

    assert (end.success, end.reason) == (False, "auth")
    assert end.error.startswith("No auth type is selected")


def test_a_resumed_conversation_remembers_and_counts_its_own_tokens_alone():
    assert "My name is Ada" in finished("turn_2_resume").text
    assert of_type(Started, "turn_2_resume")[0].session_id == session_of("turn_1")
    assert of_type(Usage, "turn_2_resume")[-1] == Usage(Tokens(1000, 50))


def test_the_recordings_are_there():
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_run_is_known(name):
    assert not [event for event in read(name) if type(event) in (Raw, Notice)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 100_000), max_size=6))
def test_the_events_are_the_same_for_any_chunking(name, cuts):
    assert read(name, tuple(cuts)) == read(name)
