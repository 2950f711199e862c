"""What every agent that prints ``stream-json`` has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from mahavishnu_core.stream import StreamJsonParser, fields

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


class Plain(StreamJsonParser):
    def usage(self, data: dict[str, JSON]) -> Usage:
        return Usage(Tokens(fields.count(fields.record(data, "usage"), "input_tokens")))


def read(*lines: dict) -> list[Event]:
    return list(Plain().feed(lines))


def message(kind: str, *blocks: JSON, **more: JSON) -> dict:
    return {"type": kind, "message": {"role": kind, "content": list(blocks)}, **more}


def piece(delta: JSON, **more: JSON) -> dict:
    return {"type": "stream_event", "event": {"type": "content_block_delta", "delta": delta}, **more}


def test_the_blocks_of_a_message_become_events_in_their_order():
    line = message(
        "assistant",
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "I write."},
        {"type": "tool_use", "id": "t1", "name": "Write", "input": {"path": "a"}},
    )

    assert read(line) == [Thinking("Hm."), Text("I write."), ToolCall("t1", "Write", {"path": "a"})]


def test_events_of_a_subagent_name_the_call_that_began_it():
    line = message("assistant", {"type": "text", "text": "Hi"}, parent_tool_use_id="t1")

    assert read(line) == [Text("Hi", parent="t1")]
    assert read(piece({"text": "H"}, parent_tool_use_id="t1")) == [Text("H", partial=True, parent="t1")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "image", "source": {}}], "[image]"),
        ([5, {"x": 1}], "[unknown]"),
        (None, ""),
        (5, ""),
    ],
)
def test_the_answer_of_a_tool_is_text(content, text):
    line = message("user", {"type": "tool_result", "tool_use_id": "t1", "content": content})

    assert read(line) == [ToolResult("t1", text)]


def test_pieces_of_texts_and_thoughts_are_partial():
    assert read(
        piece({"type": "text_delta", "text": "Hel"}), piece({"type": "thinking_delta", "thinking": "H"})
    ) == [
        Text("Hel", partial=True),
        Thinking("H", partial=True),
    ]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": {}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "message_stop"},
    ],
)
def test_bookkeeping_of_a_stream_is_no_event(event):
    assert read({"type": "stream_event", "event": event}) == []


@pytest.mark.parametrize("content", ["Continue.", [{"type": "text", "text": "Continue."}]])
def test_what_is_said_to_the_agent_is_not_text_of_the_agent(content):
    assert read({"type": "user", "message": {"role": "user", "content": content}}) == []


def test_the_start_names_the_conversation():
    line = {"type": "system", "subtype": "init", "session_id": "s", "model": "m", "version": "1"}

    assert read({**line, "permission_mode": "yolo"}) == [Started("s", "m", "1", "yolo")]


def test_a_result_is_usage_and_the_end():
    line = {"type": "result", "subtype": "success", "is_error": False, "result": "Yes", "num_turns": 2}

    assert read({**line, "usage": {"input_tokens": 7}}) == [
        Usage(Tokens(7)),
        Finished(True, text="Yes", turns=2),
    ]


def test_a_completed_status_is_no_end():
    line = {"type": "system", "subtype": "task_notification", "status": "completed"}

    assert read(line) == [Raw(line)]


def test_refused_tools_are_told_once_for_each_call():
    refused = [{"tool_name": "Bash", "tool_use_id": "1"}, {"tool_name": "Bash", "tool_use_id": "2"}, 5]
    line = {"type": "result", "subtype": "success", "permission_denials": refused}

    told = [event for event in read(line, line) if type(event) is Notice]
    assert told == [Notice("permission_denied", "Bash: not permitted")] * 2


@pytest.mark.parametrize("value", [True, 1, "true", [], {}])
def test_only_a_clear_absence_of_error_is_success(value):
    (end,) = [
        e for e in read({"type": "result", "subtype": "success", "is_error": value}) if type(e) is Finished
    ]

    assert not end.success


KINDS = ("assistant", "user", "stream_event", "system", "result", "control_request", "control_response")
KEYS = (
    *(
        "type",
        "subtype",
        "message",
        "content",
        "event",
        "delta",
        "text",
        "thinking",
        "usage",
        "result",
        "name",
    ),
    *(
        "input",
        "id",
        "tool_use_id",
        "is_error",
        "errors",
        "error",
        "permission_denials",
        "request",
        "num_turns",
    ),
    *("parent_tool_use_id", "session_id", "model", "input_tokens", "tool_name"),
)
WORDS = st.sampled_from(
    [*KINDS, "init", "text", "thinking", "tool_use", "tool_result", "success", "can_use_tool", "", "x"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.thorough
@given(st.fixed_dictionaries({"type": ANYTHING}, optional=dict.fromkeys(KEYS[1:], ANYTHING)))
def test_any_shape_gives_events_that_can_be_written(line):
    for event in Plain().read(line):
        orjson.dumps(msgspec.to_builtins(event))


@pytest.mark.parametrize(
    ("value", "number", "whole"),
    [
        (3, 3.0, 3),
        (2.5, 2.5, 2),
        (0, 0.0, 0),
        (-1, None, None),
        (True, None, None),
        ("3", None, None),
        (1e300, 1e300, None),
        (2**63, float(2**63), None),
        (None, None, None),
    ],
)
def test_a_number_is_a_number_from_0_up(value, number, whole):
    assert fields.number({"n": value}, "n") == number
    assert fields.whole({"n": value}, "n") == whole
    assert fields.count({"n": value}, "n") == (whole or 0)


def test_a_field_of_another_type_is_not_there():
    data: dict[str, JSON] = {"a": 5, "b": [1, "x", {"y": 1}], "c": {"d": 1}}

    assert fields.text(data, "a") is None
    assert fields.texts(data, "b") == ["x"]
    assert fields.texts(data, "a") == []
    assert fields.records(data, "b") == [{"y": 1}]
    assert fields.records(data, "c") == []
    assert fields.record(data, "c") == {"d": 1}
    assert fields.record(data, "b") == {}
