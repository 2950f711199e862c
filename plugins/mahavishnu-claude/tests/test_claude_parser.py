"""What no recording shows: odd shapes, and turns of claude's own."""

from __future__ import annotations

import pytest

from mahavishnu_claude.parser import ClaudeParser
from mahavishnu_core.events import Finished, Notice, Raw, Started, Text, Tokens, Usage

INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}


def result(text="Done.", **more) -> dict:
    return {"type": "result", "subtype": "success", "is_error": False, "result": text, "num_turns": 1, **more}


def unasked(text="More.", **more) -> dict:
    return result(text, origin={"kind": "task-notification"}, **more)


def failed(text="Broken.", **more) -> dict:
    return result(text, is_error=True, **more)


def read(*lines: dict) -> list:
    return list(ClaudeParser().feed(lines))


def ends(*lines: dict) -> list[Finished]:
    return [event for event in read(*lines) if type(event) is Finished]


def test_a_turn_that_nobody_asked_for_adds_to_the_answer():
    assert ends(result("Started."), unasked("The tests pass."))[-1] == Finished(
        True, text="Started.\n\nThe tests pass.", turns=2
    )


def test_a_turn_that_nobody_asked_for_does_not_mask_a_failed_answer():
    assert [end.success for end in ends(failed(), unasked())] == [False]


def test_a_failed_turn_that_nobody_asked_for_does_not_fail_the_answer():
    events = read(result(), unasked("Overloaded", is_error=True))

    assert [event.success for event in events if type(event) is Finished] == [True]
    assert Notice("background", "a turn after a background task failed: Overloaded") in events


def test_a_turn_that_nobody_asked_for_is_no_answer_by_itself():
    assert ends(unasked()) == []


def test_an_answer_that_comes_after_a_turn_nobody_asked_for_is_the_answer():
    assert ends(unasked(), result("Mine.")) == [Finished(True, text="Mine.", turns=1)]


@pytest.mark.parametrize("origin", [None, {"kind": "human"}, {"kind": "auto-continuation"}, {}, 5])
def test_a_result_of_our_own_prompt_is_an_answer_whatever_its_origin_is_called(origin):
    assert ends(result(origin=origin)) == [Finished(True, text="Done.", turns=1)]


def test_success_with_is_error_is_a_failure():
    assert ends(failed("No.")) == [Finished(False, error="No.", reason="api_error", turns=1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (failed(api_error_status=429), "rate_limited"),
        (failed(api_error_status=401), "auth"),
        (failed(api_error_status=529), "api_error"),
        (failed(stop_reason="refusal"), "refusal"),
        (result(subtype="error_during_execution"), "execution_error"),
        (result(subtype="error_max_turns", api_error_status=429), "max_turns"),
        (result(subtype="error_max_budget_usd"), "max_budget"),
        (result(subtype="error_of_tomorrow"), "execution_error"),
        (result(subtype=None), "execution_error"),
        (failed(api_error_status=[]), "api_error"),
    ],
)
def test_a_failed_result_has_one_word_for_why(line, reason):
    (end,) = ends(line)

    assert not end.success
    assert end.reason == reason


def test_the_last_retry_explains_a_failure_without_a_status():
    retry = {"type": "system", "subtype": "api_retry", "error": "rate_limit", "error_status": 429}

    assert ends(retry, failed())[0].reason == "rate_limited"


def test_a_good_message_after_a_retry_clears_it():
    retry = {"type": "system", "subtype": "api_retry", "error": "rate_limit", "error_status": 429}
    message = {"type": "assistant", "message": {"content": [{"type": "text", "text": "Hi"}]}}

    assert ends(retry, message, failed())[0].reason == "api_error"


def test_an_error_says_something_even_where_claude_says_nothing():
    assert ends({"type": "result"})[0].error == "ended with an unreadable result"
    assert ends({"type": "result", "subtype": "error_x", "errors": ["a", 5, "b"]})[0].error == "a\nb"


def test_tokens_of_turns_add_up_where_models_are_not_named():
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3}
    usage["cache_creation_input_tokens"] = 2

    events = read(result(usage=usage), unasked(usage=usage, total_cost_usd=0.5))

    assert [event for event in events if type(event) is Usage] == [
        Usage(Tokens(10, 5, 3, 2), None),
        Usage(Tokens(20, 10, 6, 4), 0.5),
    ]


def test_all_models_count_and_they_count_from_the_start():
    one, two = {"inputTokens": 10, "outputTokens": 1}, {"inputTokens": 5, "cacheReadInputTokens": 7}

    assert read(result(modelUsage={"a": one}), result(modelUsage={"a": one, "b": two}))[2] == Usage(
        Tokens(15, 1, 7), None
    )


def test_streamed_tokens_add_up_message_by_message():
    start = {"type": "stream_event", "event": {"type": "message_start"}}
    delta = {
        "type": "stream_event",
        "event": {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
    }

    assert read(start, delta, delta, start, delta)[-1] == Usage(Tokens(0, 18))


def test_a_refusal_that_was_told_at_once_is_not_told_again():
    denied = {"type": "system", "subtype": "permission_denied", "tool_name": "Bash", "tool_use_id": "t1"}
    later = {"tool_name": "Bash", "tool_use_id": "t1"}

    events = read({**denied, "message": "denied by a rule"}, result(permission_denials=[later]))

    assert [event for event in events if type(event) is Notice] == [
        Notice("permission_denied", "Bash: denied by a rule")
    ]


def test_a_question_that_nobody_can_answer_is_told():
    question = {"type": "control_request", "request": {"subtype": "can_use_tool", "tool_name": "Bash"}}

    assert read(question) == [Notice("permission_request", "Bash: waits to be allowed")]


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        (
            {"subtype": "compact_boundary", "compact_metadata": {"pre_tokens": 900, "post_tokens": 80}},
            Notice("compacted", "the conversation was cut down from 900 to 80 tokens"),
        ),
        (
            {"subtype": "model_fallback", "original_model": "a", "fallback_model": "b", "content": ""},
            Notice("model", "b answers for a"),
        ),
        (
            {"subtype": "model_fallback", "content": "Switched to b: overloaded"},
            Notice("model", "Switched to b: overloaded"),
        ),
    ],
)
def test_a_change_of_the_conversation_is_told(line, notice):
    assert read({"type": "system", **line}) == [notice]


def test_a_limit_in_milliseconds_is_no_moment_in_seconds():
    info = {"status": "rejected", "resetsAt": 1_999_999_999_000}

    assert read({"type": "rate_limit_event", "rate_limit_info": info}) == [
        Notice("rate_limit", "the usage limit is reached", None)
    ]


def test_a_limit_that_is_far_away_is_no_news():
    assert read({"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}) == []


def test_the_same_start_of_a_further_turn_is_told_once():
    assert read(INIT, INIT) == [Started("s", "m")]


def test_a_new_conversation_in_the_same_run_is_told():
    assert read(INIT, {**INIT, "session_id": "t"}) == [Started("s", "m"), Started("t", "m")]


@pytest.mark.parametrize(
    "line",
    [{"type": "news"}, {"type": "system", "subtype": "news"}, {"type": "control_request", "request": {}}],
)
def test_what_is_not_known_is_kept(line):
    assert read(line) == [Raw(line)]


def test_text_around_an_unknown_block_is_read():
    line = {"type": "assistant", "message": {"content": [{"type": "text", "text": "a"}, {"type": "news"}, 5]}}

    assert read(line) == [Text("a"), Raw(line)]
