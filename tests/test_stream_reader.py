"""Bytes in, typed events out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.events import Event, Finished, Notice, Oversize, Raw, TaskEvent, Text, ToolCall, to_dict
from mahavishnu_core.models import Exit
from mahavishnu_core.stream import GenericParser, LinesParser, ObjectParser, StreamReader
from tests.chunks import chunks, cut

if TYPE_CHECKING:
    from mahavishnu_core.hookspecs import Parser
    from mahavishnu_core.models import JSON, Tracking

_DONE = Exit(exit_code=0)
_LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b'{"text":"hello"}',
                b'{"delta":{"content":"piece"}}',
                b'{"bad":1}',
                b'{"type":"error","message":"\xff"}',
                b'{"type":"result","result":"gr\xc3\xbcn"}',
                b'{"done":true}',
                b'{"text":"\\ud800","n":NaN}',
                b'{"text":"%s"}' % (b"x" * 50),
                b"warming up",
                b"[1,2]",
                b"  ",
                b'{"text":"hal',
                b"\r",
            ]
        ),
    ),
    max_size=12,
)
_STREAMS = st.tuples(_LINES, st.booleans()).map(lambda parts: b"\n".join(parts[0]) + b"\n" * parts[1])


class Fussy(GenericParser):
    """Counts what it reads, and cannot bear an object that is marked bad."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def read(self, data: dict[str, JSON]) -> Iterable[Event]:
        self._count += 1
        yield Text(f"{self._count}")
        if "bad" in data:
            raise LookupError("no such thing")
        yield from super().read(data)


class Strict:
    """A parser made from nothing, that raises on a whole batch for one bad line in it."""

    def feed(self, lines: Sequence[dict[str, JSON] | str]) -> Iterable[Event]:
        return [Text(self._word(line)) for line in lines]

    def end(self, exit: Exit, stderr: str) -> Iterable[Event]:
        raise RuntimeError("cannot end")

    def _word(self, line: dict[str, JSON] | str) -> str:
        if not isinstance(line, dict):
            raise TypeError("only objects please")
        return str(line["word"])


@attrs.frozen
class Read:
    events: list[Event]
    truncated: bool
    noise: int


def read(
    pieces: bytes | Sequence[bytes],
    parser: Parser | None = None,
    tracking: Tracking = "stream-json",
    max_line: int = 1000,
    exit: Exit = _DONE,
) -> Read:
    reader = StreamReader(parser or GenericParser(), tracking, max_line)
    chunked = [pieces] if isinstance(pieces, bytes) else pieces
    events = [event for piece in chunked for event in reader.feed(piece)]
    return Read(events + reader.end(exit, "the last words"), reader.truncated, reader.noise)


@settings(deadline=None)
@pytest.mark.parametrize("parser", [GenericParser, Fussy, Strict])
@given(stream=_STREAMS, seams=chunks(), max_line=st.integers(10, 60))
def test_b2_any_chunking_gives_the_same_events(
    parser: Callable[[], Parser], stream: bytes, seams: list[int], max_line: int
) -> None:
    whole = read(stream, parser(), max_line=max_line)

    assert read(cut(stream, seams), parser(), max_line=max_line) == whole
    assert read([bytes([byte]) for byte in stream], parser(), max_line=max_line) == whole


@settings(deadline=None)
@given(stream=_STREAMS, seams=chunks(), max_line=st.integers(10, 60))
def test_any_chunking_gives_the_same_plain_lines(stream: bytes, seams: list[int], max_line: int) -> None:
    whole = read(stream, LinesParser(), "lines", max_line)

    assert read(cut(stream, seams), LinesParser(), "lines", max_line) == whole


@settings(deadline=None)
@given(stream=_STREAMS)
def test_b5_every_event_of_any_bytes_can_be_written_as_json(stream: bytes) -> None:
    for event in read(stream).events:
        json.dumps(to_dict(TaskEvent("w", "t", 1, event)), allow_nan=False).encode()


def test_a_stream_of_objects_is_read() -> None:
    stream = b'{"text":"hello"}\n{"type":"result","result":"bye"}\n'

    assert read(stream) == Read([Text("hello"), Finished(success=True, text="bye")], False, 0)


def test_lines_that_are_no_objects_are_noise_and_decide_nothing() -> None:
    stream = b'warming up\n[{"type":"result"}]\nWARN: {"done":true}\n3\n"done"\n}{\n{"text":"hello"}\n'

    found = read(stream)

    assert [event.kind for event in found.events[:-1] if isinstance(event, Notice)] == ["noise"] * 6
    assert found.events[-1] == Text("hello")
    assert (found.noise, found.truncated) == (6, False)


def test_blank_lines_are_no_events() -> None:
    assert read(b'\n  \n\t\r\n{"text":"a"}\n\n \n   ') == Read([Text("a")], False, 0)


def test_a_byte_order_mark_and_carriage_returns_are_tolerated() -> None:
    assert read(b'\xef\xbb\xbf{"text":"a"}\r\n{"text":"b"}\r\n') == Read([Text("a"), Text("b")], False, 0)


def test_a_whole_object_at_the_end_counts_without_its_newline() -> None:
    assert read(b'{"done":true}') == Read([Finished(success=True, text="")], False, 0)


def test_half_an_object_at_the_end_is_told_as_such() -> None:
    found = read(b'{"text":"a"}\n{"type":"result","resu')

    assert found == Read([Text("a"), Notice("malformed", '{"type":"result","resu')], True, 0)


def test_separators_of_lines_inside_a_string_end_no_line() -> None:
    text = "1\u2028\u2029\x85\x0b\x0c\x1c2"

    assert read(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n").events == [Text(text)]


def test_a_line_over_the_bound_is_told_and_the_task_goes_on() -> None:
    long = b'{"text":"' + "ü".encode() * 10_000 + b'"}'
    stream = b'{"text":"a"}\n' + long + b'\n{"text":"b"}\n' + long

    oversize = Oversize(len(long), long[:1024].decode("utf-8", "replace"))
    assert read(stream, max_line=2000) == Read([Text("a"), oversize, Text("b"), oversize], False, 0)


def test_a_line_over_the_bound_is_no_text_of_plain_output() -> None:
    found = read(b"a\n" + b"x" * 50 + b"\nb\n", LinesParser(), "lines", max_line=10)

    assert found.events == [
        Text("a"),
        Oversize(50, "x" * 50),
        Text("b"),
        Finished(success=True, text="a\nb"),
    ]


def test_plain_output_is_not_parsed() -> None:
    found = read(b'{"type":"result"}\n\n  3\nhalf', LinesParser(), "lines")

    lines = ['{"type":"result"}', "", "  3", "half"]
    assert found == Read([*map(Text, lines), Finished(success=True, text="\n".join(lines))], False, 0)


def test_plain_output_that_is_not_utf8_is_replaced() -> None:
    assert read(b"caf\xe9\x00\n", LinesParser(), "lines").events[0] == Text("caf\ufffd\x00")


def test_the_end_is_handed_to_the_parser() -> None:
    found = read(b"out\n", LinesParser(), "lines", exit=Exit(exit_code=1))

    assert found.events[-1] == Finished(
        success=False, text="out", error="the last words", reason="exit_status"
    )


def test_a_parser_that_raises_loses_the_guilty_lines_alone() -> None:
    found = read(b'{"word":"one"}\n{"none":1}\nnoise\n{"word":"two"}\n', Strict())

    assert found.events == [
        Text("one"),
        Notice("malformed", "KeyError: 'word'"),
        Raw({"none": 1}),
        Notice("malformed", "TypeError: only objects please"),
        Text("two"),
        Notice("malformed", "RuntimeError: cannot end"),
    ]


def test_a_parser_with_a_memory_reads_no_line_twice_when_it_raises() -> None:
    found = read(b'{"a":1}\n{"bad":2}\n{"c":3}\n', Fussy())

    assert [event.text for event in found.events if isinstance(event, Text)] == ["1", "2", "3"]


@pytest.mark.parametrize("depth", [300, 1000])
def test_data_nested_too_deeply_to_be_written_is_not_carried_on(depth: int) -> None:
    class Calling(ObjectParser):
        def read(self, data: dict[str, JSON]) -> Iterable[Event]:
            yield ToolCall("c", "tool", data["deep"])
            yield Raw(data)

    stream = b'{"deep":%s1%s}\n{"deep":[1]}\n' % (b"[" * depth, b"]" * depth)

    stated, notice, *fine = read(stream, Calling(), max_line=10_000).events

    assert stated == ToolCall("c", "tool", "nested too deeply to be kept: see stdout.jsonl")
    assert notice == Notice("malformed", "nested too deeply to be kept: see stdout.jsonl")
    assert fine == [ToolCall("c", "tool", [1]), Raw({"deep": [1]})]


def test_data_nested_200_deep_can_be_carried_on_and_written() -> None:
    data = orjson.loads(b'{"deep":' + b"[" * 200 + b"]" * 200 + b"}")

    (event,) = read(orjson.dumps(data) + b"\n").events

    assert event == Raw(data)
    assert orjson.dumps([to_dict(TaskEvent("w", "t", 1, event))])
