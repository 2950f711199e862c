"""Splitting bytes into lines."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_core.stream import LineSplitter, LongLine
from tests.chunks import chunks, cut

_ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r", b""])
_STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.tuples(st.binary(max_size=12), _ENDINGS), max_size=8),
).map(lambda parts: parts[0] + b"".join(line + ending for line, ending in parts[1]))


def split(pieces: Sequence[bytes], max_line: int = 1000) -> list[bytes | LongLine | None]:
    splitter = LineSplitter(max_line)
    return [*(line for piece in pieces for line in splitter.feed(piece)), splitter.finish()]


@given(stream=_STREAMS, seams=chunks(), max_line=st.integers(0, 12))
def test_any_chunking_gives_the_same_lines(stream: bytes, seams: list[int], max_line: int) -> None:
    assert split(cut(stream, seams), max_line) == split([stream], max_line)


@given(lines=st.lists(st.binary(max_size=20).map(lambda line: line.translate(None, b"\r\n\xef")), min_size=1))
def test_the_lines_are_what_lies_between_the_newlines(lines: list[bytes]) -> None:
    assert split([b"\n".join(lines) + b"\n"]) == [*lines, None]


def test_what_follows_the_last_newline_comes_at_the_end() -> None:
    assert split([b"one\ntwo"]) == [b"one", b"two"]


def test_nothing_is_left_after_a_newline() -> None:
    assert split([b"one\n"]) == [b"one", None]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_nothing_but_a_newline_ends_a_line(separator: str) -> None:
    line = f"one{separator}two".encode()

    assert split([line + b"\n"]) == [line, None]


def test_a_carriage_return_before_the_newline_is_no_part_of_the_line() -> None:
    assert split([b"one\r", b"\ntwo\r\n", b"\r\n"]) == [b"one", b"two", b"", None]


def test_a_byte_order_mark_counts_only_at_the_start_of_the_stream() -> None:
    mark = b"\xef\xbb\xbf"

    assert split([mark[:1], mark[1:] + b"one\n" + mark + b"two\n"]) == [b"one", mark + b"two", None]


def test_a_line_of_exactly_the_bound_passes() -> None:
    assert split([b"12345\n12345\n"], max_line=5) == [b"12345", b"12345", None]


def test_a_line_over_the_bound_is_counted_and_its_beginning_kept() -> None:
    line = bytes(range(32, 127)) * 100

    long, after, _ = split([line + b"\nnext\n"], max_line=5000)

    assert long == LongLine(len(line), line[:1024])
    assert after == b"next"


def test_a_line_over_the_bound_may_end_with_the_stream() -> None:
    assert split([b"123", b"456"], max_line=5) == [LongLine(6, b"123456")]


def test_a_huge_line_takes_no_more_memory_than_the_bound_allows() -> None:
    mega = 1024 * 1024
    chunk = b"x" * 65536
    splitter = LineSplitter(max_line=mega)
    tracemalloc.start()
    try:
        for _ in range(20 * mega // len(chunk)):
            assert splitter.feed(chunk) == []
        lines = splitter.feed(b"\n")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert lines == [LongLine(20 * mega, b"x" * 1024)]
    assert peak < 2 * mega


@pytest.mark.thorough
def test_a_line_in_tiny_chunks_takes_little_more_memory_than_its_bytes() -> None:
    size = 200_000
    splitter = LineSplitter()
    tracemalloc.start()
    try:
        for _ in range(size):
            splitter.feed(b"xy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert splitter.finish() == b"xy" * size
    assert peak < 2 * 2 * size
