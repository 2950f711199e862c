"""Recorded runs of the real claude, read as the engine reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_claude.parser import ClaudeParser
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

RUNS = Path(__file__).parents[1] / "mahavishnu_claude/samples"
NAMES = sorted(path.stem for path in RUNS.glob("*.jsonl"))


def facts(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


def read(name: str, cuts: tuple[int, ...] = ()) -> list[Event]:
    """The events of a run whose output comes in pieces, cut at these bytes."""
    output = (RUNS / f"{name}.jsonl").read_bytes()
    ends = [*sorted(cut % (len(output) + 1) for cut in cuts), len(output)]
    reader = StreamReader(ClaudeParser(), "stream-json")
    events: list[Event] = []
    start = 0
    for end in ends:
        events += reader.feed(output[start:end])
        start = end
    run = facts(name)
    return [*events, *reader.end(Exit(run["exit_code"], run["signal"]), run["stderr"])]


def whole(name: str) -> list[Event]:
    """The events without pieces of texts that follow whole."""
    return [event for event in read(name) if not getattr(event, "partial", False)]


def of_type(kind: type, name: str) -> list:
    return [event for event in whole(name) if type(event) is kind]


def finished(name: str) -> Finished:
    (event,) = of_type(Finished, name)
    return event


def notices(kind: str, name: str) -> list[str]:
    return [event.text for event in of_type(Notice, name) if event.kind == kind]


def session_of(name: str) -> str:
    argv = facts(name)["argv"]
    return argv[argv.index("--resume" if "--resume" in argv else "--session-id") + 1]


def test_hello():
    started, text, usage, end = whole("hello")

    assert started == Started(
        session_of("hello"), "claude-opus-4-8[1m]", facts("hello")["version"], "acceptEdits"
    )
    assert text == Text("Hello from the scripted model.")
    assert usage == Usage(Tokens(1000, 50), 0.00625)
    assert end == Finished(True, text="Hello from the scripted model.", turns=1)


def test_pieces_make_up_the_text_that_follows_whole():
    events = read("partials")
    pieces = [event.text for event in events if type(event) is Text and event.partial]
    (text,) = [event.text for event in events if type(event) is Text and not event.partial]

    assert len(pieces) > 1
    assert "".join(pieces) == text == finished("partials").text


def test_tokens_are_known_before_the_result_where_pieces_are_shown():
    before, after = of_type(Usage, "partials")

    assert before == Usage(Tokens(1000, 50), None)
    assert after == Usage(Tokens(1000, 50), 0.00625)


def test_text_of_any_script_arrives_as_it_was_written():
    assert "Grüße 漢字 🙂" in finished("echo_unicode").text


def test_thinking_is_not_text():
    assert of_type(Thinking, "think") == [Thinking("Let me think about this for a moment.")]
    assert of_type(Text, "think") == [Text("I have thought about it.")]


def test_thinking_shows_signs_of_life_without_pieces():
    assert Thinking("", partial=True) in read("think")


def test_a_tool_call_and_its_result():
    (call,), (result,) = of_type(ToolCall, "tool_write"), of_type(ToolResult, "tool_write")

    assert call.name == "Write"
    assert call.input["content"] == "hello from a scripted model\n"
    assert result.call_id == call.call_id
    assert not result.is_error
    assert "File created" in result.text


def test_two_calls_in_one_message_each_have_their_result():
    calls, results = of_type(ToolCall, "tool_two"), of_type(ToolResult, "tool_two")

    assert [call.name for call in calls] == ["Write", "Write"]
    assert [result.call_id for result in results] == [call.call_id for call in calls]
    assert of_type(Usage, "tool_two")[-1].tokens == Tokens(2000, 100)


def test_a_refused_tool_is_told_and_the_run_succeeds():
    (result,) = of_type(ToolResult, "bash_denied")

    assert result.is_error
    assert "requires approval" in result.text
    assert notices("permission_denied", "bash_denied") == ["Bash: not permitted"]
    assert finished("bash_denied").success


def test_a_command_that_fails_is_an_error_of_the_tool_alone():
    (result,) = of_type(ToolResult, "bash_allowed")

    assert result.is_error
    assert result.text.startswith("Exit code 3")
    assert notices("permission_denied", "bash_allowed") == []
    assert finished("bash_allowed").success


def test_what_a_subagent_does_carries_the_call_that_began_it():
    begin, read_call = of_type(ToolCall, "subagent")
    inner, outer = of_type(ToolResult, "subagent")

    assert (begin.name, begin.parent) == ("Agent", None)
    assert (read_call.name, read_call.parent) == ("Read", begin.call_id)
    assert (inner.call_id, inner.parent) == (read_call.call_id, begin.call_id)
    assert (outer.call_id, outer.parent) == (begin.call_id, None)
    assert all(text.parent is None for text in of_type(Text, "subagent"))


def test_the_prompt_of_a_subagent_is_not_text_of_the_agent():
    assert not any("SUBTASK" in text.text for text in of_type(Text, "subagent"))


def test_the_tokens_of_a_subagent_count():
    assert of_type(Usage, "subagent")[-1] == Usage(Tokens(4000, 200), 0.025)


def test_a_command_left_in_the_background_is_told_and_does_not_change_the_end():
    assert notices("background", "background") == ["started: scripted command", "stopped: scripted command"]
    assert finished("background").success


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [
        ("e400", "api_error", "API Error: 400 messages: scripted bad request"),
        ("e401", "auth", "Invalid API key · Fix external API key"),
        ("e403", "auth", "Failed to authenticate. API Error: 403 scripted: not allowed"),
        ("e429", "rate_limited", "API Error: Request rejected (429) · scripted rate limit"),
        ("e429_unified", "rate_limited", "You've hit your limit"),
        ("e500", "api_error", "API Error: 500 scripted internal error."),
        ("die", "api_error", "API Error: Unable to connect to API"),
        ("refusal", "refusal", "API Error: Claude Code is unable to respond to this request"),
        ("max_turns", "max_turns", "Reached maximum number of turns (3)"),
        ("max_budget", "max_budget", "Reached maximum budget ($3)"),
        ("resume_unknown", "session_lost", "No conversation found with session ID: "),
        ("no_credentials", "auth", "Not logged in"),
    ],
)
def test_a_failure_has_its_reason_and_its_words(name, reason, error):
    end = finished(name)

    assert not end.success
    assert end.reason == reason
    assert end.error.startswith(error)
    assert end.text is None


@pytest.mark.parametrize("name", ["e400", "e401", "e403", "e500", "die", "refusal", "no_credentials"])
def test_the_words_of_an_error_are_not_text_of_the_agent(name):
    assert of_type(Text, name) == []
    assert notices("error", name) == [finished(name).error]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("e401", "authentication_failed (401)"),
        ("e429_once", "rate_limit (429)"),
        ("e500", "server_error (500)"),
        ("e529_once", "overloaded (529)"),
        ("die", "unknown"),
    ],
)
def test_a_retry_says_which_it_is_and_why(name, first):
    told = notices("retry", name)

    assert told[0].startswith("retry 1 of ")
    assert told[0].endswith(f" s: {first}")


def test_a_retry_that_helps_leaves_no_mark_on_the_result():
    assert finished("e429_once") == Finished(True, text="Recovered after a rate limit.", turns=1)
    assert finished("e529_once").success


def test_a_reached_limit_says_when_it_ends():
    (limit,) = [notice for notice in of_type(Notice, "e429_unified") if notice.kind == "rate_limit"]

    assert limit == Notice("rate_limit", "the five hour limit is reached", 1999999999.0)


def test_a_limit_that_comes_near_is_told_and_the_run_succeeds():
    (limit,) = [notice for notice in of_type(Notice, "limits_warning") if "limit" in notice.kind]

    assert limit == Notice("rate_limit_near", "91% of the five hour limit is used", 1999999999.0)
    assert finished("limits_warning").success


def test_an_answer_that_was_fetched_again_after_a_broken_stream_is_the_answer():
    assert of_type(Text, "die_stream") == [Text("Not streamed, but here.")]
    assert of_type(Usage, "die_stream")[-1] == Usage(Tokens(1000, 50), 0.00625)


def test_the_nudge_after_an_empty_answer_is_not_text_of_the_agent():
    assert of_type(Text, "empty") == []
    assert finished("empty") == Finished(True, text="", turns=2)


def test_money_and_tokens_of_an_answer_over_the_budget_are_the_whole_ones():
    assert of_type(Usage, "max_budget")[-1] == Usage(Tokens(400_000, 100_000), 4.5)


def test_a_resumed_conversation_remembers_and_counts_its_own_tokens_alone():
    assert "My name is Ada" in finished("turn_2_resume").text
    assert of_type(Started, "turn_2_resume")[0].session_id == session_of("turn_1")
    assert of_type(Usage, "turn_2_resume")[-1] == of_type(Usage, "turn_1")[-1]


def test_the_recordings_are_there():
    assert len(NAMES) >= 28


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_run_is_known(name):
    assert not [event for event in read(name) if type(event) is Raw]
    assert notices("noise", name) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_and_the_exit_status_agree(name):
    assert finished(name).success == (facts(name)["exit_code"] == 0)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 100_000), max_size=6))
def test_the_events_are_the_same_for_any_chunking(name, cuts):
    assert read(name, tuple(cuts)) == read(name)
