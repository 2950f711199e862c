"""Ranges of a text by its bytes: laid side by side they are the whole, whatever they are cut from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp import ranges
from mahavishnu_mcp.ranges import LONGEST, Range, cut

SECRETS = ("pässwörd", "pässwört-längër", "aaaabaaaab", "aab")
"""Also such that overlap themselves and each other."""
PIECES = [*SECRETS, "a", "b", "ä", "\u20ac", "\U0001f600", "\n", "\0", "\x1b"]
few = settings(max_examples=80, deadline=None, database=None)
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
borders = st.lists(st.integers(0, 90), max_size=6).map(sorted)


def part(data: bytes, begin: int, end: int | None = None, secrets: tuple[str, ...] = ()) -> str | bytes:
    length = None if end is None else end - begin
    return cut(Range(begin, length), len(data), lambda first, last: data[first:last], secrets)


def parts(data: bytes, places: list[int], secrets: tuple[str, ...] = ()) -> list[str | bytes]:
    ends = [*places[1:], None]
    return [part(data, begin, end, secrets) for begin, end in zip(places, ends, strict=True)]


def in_bytes(piece: str | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.encode()


@few
@given(text=texts, places=borders)
def test_ranges_of_a_text_are_texts_and_tile_it(text, places):
    found = parts(text.encode(), [0, *places])
    assert all(isinstance(piece, str) for piece in found)
    assert "".join(found) == text


@few
@given(data=st.binary(max_size=60) | texts.map(lambda text: text.encode()[1:-1]), places=borders)
def test_ranges_of_what_is_no_utf8_tile_it(data, places):
    assert b"".join(map(in_bytes, parts(data, [0, *places]))) == data


@few
@given(text=texts, places=borders)
def test_secrets_are_starred_across_all_borders_and_nothing_moves(text, places):
    data = text.encode()
    whole = part(data, 0, secrets=SECRETS)
    assert "".join(parts(data, [0, *places], SECRETS)) == whole
    assert len(whole.encode()) == len(data)
    assert not any(secret in whole for secret in SECRETS)
    hidden = {
        place
        for secret in map(str.encode, SECRETS)
        for begin in range(len(data))
        if data.startswith(secret, begin)
        for place in range(begin, begin + len(secret))
    }
    expected = bytes(ord("*") if place in hidden else byte for place, byte in enumerate(data))
    assert whole.encode() == expected


@few
@given(data=st.binary(max_size=40), places=borders)
def test_secrets_that_are_no_text_are_starred_in_what_is_none(data, places):
    secret = b"\xff\xfe\x80secret\x80"
    name = secret.decode("utf-8", "surrogateescape")
    data = data[:20] + secret + data[20:]
    found = b"".join(map(in_bytes, parts(data, [0, *places], (name,))))
    assert found == data.replace(secret, b"*" * len(secret))


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 0, ""),
        (0, 1, "a"),
        (0, 2, "a€"),
        (1, 2, "€"),
        (2, 3, ""),
        (2, 4, ""),
        (2, 5, "b"),
        (4, None, "b"),
        (5, None, ""),
        (99, None, ""),
        (0, 99, "a€b"),
    ],
)
def test_a_character_is_in_the_range_in_which_it_begins(begin, end, expected):
    assert part("a€b".encode(), begin, end) == expected


def test_only_the_range_and_a_margin_are_read():
    reads = []

    def read(begin: int, end: int) -> bytes:
        reads.append((begin, end))
        return b"x" * (end - begin)

    assert cut(Range(10**9, 100), 10**10, read, ("s" * 50,)) == "x" * 100
    ((begin, end),) = reads
    assert 10**9 - 100 < begin <= 10**9 - 50
    assert 10**9 + 150 <= end < 10**9 + 200


def test_more_than_one_answer_may_hold_is_refused_with_advice(monkeypatch):
    with pytest.raises(
        UsageError, match=f"^that is {LONGEST + 1} bytes: read {LONGEST} at most, with "
    ) as told:
        cut(Range(), LONGEST + 1, lambda begin, end: pytest.fail("it is read"))
    assert str(told.value).endswith(f"?offset=0&length={LONGEST}")
    monkeypatch.setattr(ranges, "LONGEST", 10)
    assert part(b"x" * 11, 1) == "x" * 10


@pytest.mark.parametrize(
    ("offset", "length", "expected"), [("", "", Range()), ("5", "", Range(5)), ("0", "0", Range(0, 0))]
)
def test_numbers_are_read_from_a_query(offset, length, expected):
    assert Range.parse(offset, length) == expected


@pytest.mark.parametrize("text", ["-1", "1.5", "x", " 1", "²", "١", "1" * 19, "0x10", "\x1b"])
def test_what_is_no_number_of_bytes_is_said(text):
    with pytest.raises(UsageError, match="offset must be a number of bytes, not ") as caught:
        Range.parse(text, "")
    assert str(caught.value).isprintable()
    with pytest.raises(UsageError, match="length must be a number of bytes"):
        Range.parse("", text)
