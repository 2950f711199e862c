"""What no recording shows: errors told from quotations, odd ends, odd shapes."""

from __future__ import annotations

import pytest

from mahavishnu_core import Exit
from mahavishnu_core.events import Finished, Notice, Raw, Text, Tokens, Usage
from mahavishnu_qwen.api_errors import ApiError, find_error
from mahavishnu_qwen.parser import QwenParser

ADVICE = (
    "Possible quota limitations in place or slow response times detected. Please wait and try again later."
)


def message(text: str, parent: str | None = None, **usage: int) -> dict:
    content = [{"type": "text", "text": text}]
    return {
        "type": "assistant",
        "parent_tool_use_id": parent,
        "message": {"content": content, "usage": usage},
    }


def result(text: str = "Done.", **more) -> dict:
    return {"type": "result", "subtype": "success", "is_error": False, "result": text, "num_turns": 1, **more}


def read(*lines: dict, resumed: bool = False) -> list:
    return list(QwenParser(resumed).feed(lines))


def end_of(*lines: dict) -> Finished:
    (end,) = [event for event in read(*lines) if type(event) is Finished]
    return end


def answer(text: str, **usage: int) -> Finished:
    return end_of(message(text, **usage), result(text))


def test_a_quoted_error_at_the_end_of_a_good_answer_is_no_failure():
    assert answer("The log says:\n[API Error: 500 boom]", input_tokens=9, output_tokens=9).success


def test_an_error_at_the_end_of_an_answer_without_tokens_is_a_failure():
    assert answer("Half an ans[API Error: 500 boom]") == Finished(
        False, text="Half an ans", error="500 boom", reason="api_error", turns=1
    )


def test_an_answer_that_is_an_error_is_a_failure_whatever_it_cost():
    assert answer("[API Error: 400 bad]", input_tokens=9) == Finished(
        False, text="", error="400 bad", reason="api_error", turns=1
    )


@pytest.mark.parametrize(
    "text", ["[API Error: 500 boom] was in the log.", "[API Error:]", "[Error: 500 boom]", ""]
)
def test_an_answer_that_does_not_end_in_an_error_is_good(text):
    assert answer(text).success


def test_tokens_of_a_subagent_are_not_those_of_the_answer():
    text = "Half an ans[API Error: 500 boom]"

    assert not end_of(message(text), message("x", parent="t1", input_tokens=9), result(text)).success


@pytest.mark.parametrize("own", ["with empty response text", "without a finish reason"])
def test_qwens_own_errors_after_answered_tries_are_failures(own):
    error = f"Model stream ended {own}."

    assert find_error(f"Half an ans[API Error: {error}]", used_tokens=True) == ApiError(
        "Half an ans", error, "api_error"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[API Error: 401 no]", "auth"),
        ("[API Error: 403 no]", "auth"),
        ("[API Error: 429 slow down]", "rate_limited"),
        (f"[API Error: slow down]\n{ADVICE}", "rate_limited"),
        (f"[API Error: 429 slow down]\n{ADVICE}\n", "rate_limited"),
        ("[API Error: 500 no]\n\n", "api_error"),
        ("[API Error: 4291 no]", "api_error"),
        ("[API Error: Connection error. (cause: connect ECONNREFUSED 127.0.0.1:1)]", "api_error"),
        ("[API Error: 400 two\nlines]", "api_error"),
        ("[API Error: 400 [brackets] in it]", "api_error"),
        ("Qwen OAuth quota exceeded: wait until tomorrow", "rate_limited"),
        ("Qwen OAuth free tier has been discontinued as of 2026-04-15.", "auth"),
    ],
)
def test_an_error_has_one_word_for_why(text, reason):
    found = find_error(text, used_tokens=False)

    assert found is not None
    assert found.reason == reason
    assert found.text == ""


def test_the_last_error_of_several_is_the_error():
    found = find_error("[API Error: 500 a] and then [API Error: 429 b]", used_tokens=False)

    assert found == ApiError("[API Error: 500 a] and then ", "429 b", "rate_limited")


def test_a_long_answer_full_of_openings_is_read_in_no_time():
    assert find_error("[API Error: " * 100_000, used_tokens=False) is None


def test_is_error_is_a_failure_with_its_message():
    line = {
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": True,
        "error": {"message": "Broke"},
    }

    assert end_of(line) == Finished(False, error="Broke", reason="execution_error")


def test_cached_input_is_counted_apart():
    usage = {"input_tokens": 100, "output_tokens": 5, "cache_read_input_tokens": 70}

    assert read(result(usage=usage))[0] == Usage(Tokens(30, 5, 70), None)


def test_tokens_of_a_resumed_conversation_are_those_of_its_own_answers():
    lines = [message("a", input_tokens=10), message("b", input_tokens=5), result(usage={"input_tokens": 900})]

    assert [event.tokens for event in read(*lines, resumed=True) if type(event) is Usage][-1] == Tokens(15)


def test_a_task_in_the_background_is_told():
    started = {"type": "system", "subtype": "task_started", "data": {"task_id": "a1", "description": "tests"}}
    ended = {
        "type": "system",
        "subtype": "task_notification",
        "data": {"task_id": "a1", "status": "completed"},
    }

    assert read(started, ended) == [
        Notice("background", "started: tests"),
        Notice("background", "completed: a1"),
    ]


@pytest.mark.parametrize(
    ("exit", "stderr"),
    [(Exit(130), "Operation cancelled."), (Exit(1), "Unknown arguments: x"), (Exit(0), ""), (Exit(), "")],
)
def test_no_end_is_invented_where_qwen_gave_no_reason(exit, stderr):
    assert list(QwenParser().end(exit, stderr)) == []


def test_the_turn_limit_is_told_without_words_on_standard_error():
    assert list(QwenParser().end(Exit(53), "")) == [
        Finished(False, error="exit status 53", reason="max_turns")
    ]


def test_a_result_stands_whatever_the_exit_status_says_later():
    parser = QwenParser()
    parser.feed([result()])

    assert list(parser.end(Exit(53), "Reached max session turns")) == []


@pytest.mark.parametrize("line", [{"type": "news"}, {"type": "system", "subtype": "news"}])
def test_what_is_not_known_is_kept(line):
    assert read(line) == [Raw(line)]


@pytest.mark.parametrize("odd", [None, 5, "x", [], [5]])
def test_odd_shapes_do_no_harm(odd):
    lines = [
        {"type": "assistant", "message": odd},
        {"type": "assistant", "message": {"content": "a", "usage": odd}},
    ]

    assert Text("a") in read(*lines, result(odd, usage=odd, permission_denials=odd))
