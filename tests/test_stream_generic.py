"""Agents that have no parser of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_core.events import Event, Finished, Notice, Raw, Text
from mahavishnu_core.models import Exit
from mahavishnu_core.stream import GenericParser

_KEYS = ["choices", "content", "delta", "done", "error", "finish_reason", "is_error", "message", "result"]
_KEYS += ["role", "status", "subtype", "text", "type"]
_WORDS = ["assistant", "completed", "done", "error", "error_max_turns", "result", "stop", "user", "words"]
_DATA = st.recursive(
    st.sampled_from([None, True, False, 0, 1.5, "", *_WORDS]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=10,
)


def read(*objects: dict) -> list[Event]:
    return list(GenericParser().feed(objects))


@pytest.mark.parametrize(
    "data",
    [
        {"text": "hello"},
        {"content": "hello"},
        {"content": [{"type": "text", "text": "hello"}, {"type": "tool_use", "name": "x"}, "no block"]},
        {"message": {"role": "assistant", "content": "hello"}},
        {"message": {"content": [{"text": "hello"}, {"text": None}]}},
        {"result": "hello"},
        {"type": "assistant", "message": {"id": "m"}, "content": "hello"},
    ],
)
def test_words_are_found_where_agents_put_them(data: dict) -> None:
    assert read(data) == [Text("hello")]


def test_blocks_of_text_are_joined_by_newlines() -> None:
    assert read({"content": [{"text": "one"}, {"text": "two"}]}) == [Text("one\ntwo")]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "ping"},
        {"text": ""},
        {"content": 3, "message": "hello", "delta": ["x"]},
        {"role": "user", "content": "the prompt"},
        {"type": "user", "message": {"role": "user", "content": "the prompt"}},
        {"choices": [], "usage": {"tokens": 3}},
    ],
)
def test_what_says_nothing_known_stays_raw(data: dict) -> None:
    assert read(data) == [Raw(data)]


@pytest.mark.parametrize(
    "mark",
    [
        {"finish_reason": "stop"},
        {"choices": [{"finish_reason": "stop", "delta": {}}]},
        {"done": True},
        {"type": "result"},
        {"type": "completion"},
        {"type": "done"},
        {"status": "completed"},
    ],
)
def test_every_end_marker_ends_with_what_was_said(mark: dict) -> None:
    assert read({"text": "one"}, {"text": "two"}, mark)[-1] == Finished(success=True, text="one\ntwo")


@pytest.mark.parametrize(
    "data",
    [
        {"done": False},
        {"done": None},
        {"done": "true"},
        {"finish_reason": None},
        {"finish_reason": False},
        {"finish_reason": "tool_calls"},
        {"choices": [{"finish_reason": None}]},
        {"status": "in_progress"},
        {"type": ["result"]},
        {"type": "task", "task": {"status": "completed"}},
        {"type": "tool", "status": "completed"},
    ],
)
def test_a_key_of_an_end_marker_alone_is_no_end(data: dict) -> None:
    assert read(data) == [Raw(data)]


def test_the_result_is_the_text_of_the_end() -> None:
    events = read({"text": "thinking aloud"}, {"type": "result", "result": "the answer"})

    assert events == [Text("thinking aloud"), Finished(success=True, text="the answer")]


def test_words_beside_an_end_marker_belong_to_the_answer() -> None:
    events = read({"content": "one"}, {"type": "completion", "content": "two"})

    assert events == [Text("one"), Text("two"), Finished(success=True, text="one\ntwo")]


def test_a_second_end_tells_what_was_said_since_the_first() -> None:
    events = read({"text": "one"}, {"done": True}, {"text": "two"}, {"done": True})

    assert events[1::2] == [Finished(success=True, text="one"), Finished(success=True, text="two")]


def test_an_end_that_is_told_twice_keeps_its_text() -> None:
    events = read({"text": "one"}, {"finish_reason": "stop"}, {"status": "completed"})

    assert events[1:] == [Finished(success=True, text="one")] * 2


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ({"is_error": True}, "the agent reported an error", "error"),
        ({"is_error": True, "result": "API Error: 500"}, "API Error: 500", "error"),
        ({"type": "error", "message": "overloaded"}, "overloaded", "error"),
        ({"error": "quota exceeded"}, "quota exceeded", "error"),
        ({"error": {"type": "auth", "message": "no key"}}, "no key", "error"),
        ({"error": {"code": 500}}, "the agent reported an error", "error"),
        ({"subtype": "error_max_turns"}, "the agent reported an error", "max_turns"),
        ({"subtype": "error", "content": "broken"}, "broken", "error"),
        ({"finish_reason": "error"}, "the agent reported an error", "error"),
        ({"finish_reason": "length"}, "the answer is cut short: finish_reason 'length'", "error"),
        ({"status": "failed"}, "the agent reported an error", "error"),
        ({"status": "error", "message": "no"}, "no", "error"),
        ({"success": False}, "the agent reported an error", "error"),
        ({"subtype": "failure"}, "the agent reported an error", "error"),
    ],
)
def test_an_end_with_a_fault_is_a_failure(fault: dict, error: str, reason: str) -> None:
    finished = read({"done": True, **fault})[-1]

    assert isinstance(finished, Finished)
    assert (finished.success, finished.error, finished.reason) == (False, error, reason)


@pytest.mark.parametrize("nothing", [None, "", {}, False])
def test_an_error_that_is_empty_is_none(nothing: object) -> None:
    assert read({"done": True, "error": nothing}) == [Finished(success=True, text="")]


def test_a_failure_keeps_what_was_said_before() -> None:
    events = read({"text": "half"}, {"done": True, "error": "cut off"})

    assert events[-1] == Finished(success=False, text="half", error="cut off", reason="error")


def test_pieces_are_given_again_when_their_message_is_whole() -> None:
    pieces = [{"delta": {"content": word}} for word in ("Hel", "lo")]

    events = read(*pieces, {"finish_reason": "stop"})

    assert events == [
        Text("Hel", partial=True),
        Text("lo", partial=True),
        Text("Hello"),
        Finished(success=True, text="Hello"),
    ]


def test_chunks_as_openai_sends_them_are_pieces() -> None:
    events = read(
        {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "Hel"}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "lo"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    )

    assert events[-2:] == [Text("Hello"), Finished(success=True, text="Hello")]


def test_chunks_as_ollama_sends_them_are_pieces() -> None:
    events = read(
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"message": {"role": "assistant", "content": "lo"}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    )

    assert events[-2:] == [Text("Hello"), Finished(success=True, text="Hello")]


def test_pieces_and_the_whole_that_follows_them_are_one_message() -> None:
    events = read({"delta": {"content": "Hel"}}, {"delta": {"content": "lo"}}, {"text": "Hello"})

    assert [event for event in events if not event.partial] == [Text("Hello")]


def test_pieces_of_an_agent_that_just_ends_are_not_lost() -> None:
    parser = GenericParser()
    parser.feed([{"delta": {"content": "Hel"}}])

    assert list(parser.end(Exit(exit_code=0), "")) == [Text("Hel")]


def test_an_error_without_an_end_after_it_is_the_end() -> None:
    parser = GenericParser()
    fault = {"type": "error", "message": "no key"}

    assert parser.feed([{"text": "hello"}, fault]) == [Text("hello"), Raw(fault)]
    assert list(parser.end(Exit(exit_code=1), "")) == [
        Finished(success=False, text="hello", error="no key", reason="error")
    ]


def test_an_error_that_was_overcome_is_none() -> None:
    parser = GenericParser()
    parser.feed([{"type": "error", "message": "try again"}, {"type": "result", "result": "done"}])

    assert list(parser.end(Exit(exit_code=0), "")) == []


def test_an_answer_over_the_bound_is_cut_and_says_so() -> None:
    long = {"text": "x" * (10 * 1024 * 1024)}

    notice, finished = read(long, long, {"done": True})[2:]

    assert notice == Notice("cut", "text cut at 16 MiB: the whole is in stdout.jsonl")
    assert isinstance(finished, Finished)
    assert len(finished.text or "") == 16 * 1024 * 1024


@pytest.mark.thorough
@given(objects=st.lists(st.dictionaries(st.sampled_from(_KEYS), _DATA, max_size=5), max_size=4))
def test_no_object_can_raise(objects: list[dict]) -> None:
    parser = GenericParser()
    for data in objects:
        assert list(parser.read(data))
    list(parser.end(Exit(), ""))
