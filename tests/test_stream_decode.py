"""Reading the JSON object on a line, whatever the line holds."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahavishnu_core.stream import decode

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(st.characters()), _VALUES, max_size=4)
_SIGNS = [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\ud83d", b"\\u0000", b" ", b"null"]
_NUMBERS = [b"NaN", b"-Infinity", b"1e999", b"9" * 25, b"9" * 5000]
_ODDITIES = [b"\x00", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8"]
_FRAGMENTS = st.lists(
    st.sampled_from([*_SIGNS, *_NUMBERS, *_ODDITIES]) | st.binary(max_size=3),
    max_size=30,
)
_NO_OBJECTS = [b"", b"  ", b"[1]", b'[{"type":"result"}]', b"12", b'"text"', b"null", b"NaN", b"{", b"}{"]
_NEARLY_OBJECTS = [b'{"a":1}{"a":2}', b'WARN: {"a":1}', b'{"a":1} done', b'{"a":', b"{'a':1}"]


def is_storable(data: object) -> bool:
    """Whether strict JSON can be made of it, and it comes back the same."""
    return orjson.loads(orjson.dumps(data)) == data


@given(line=st.binary())
def test_no_bytes_can_raise(line: bytes) -> None:
    found = decode(line)

    assert isinstance(found, str) or is_storable(found)


@given(fragments=_FRAGMENTS)
def test_no_fragments_of_json_can_raise(fragments: list[bytes]) -> None:
    found = decode(b"{" + b"".join(fragments) + b"}")

    assert isinstance(found, str) or is_storable(found)


@pytest.mark.thorough
@settings(deadline=None)
@given(data=_OBJECTS, place=st.integers(0), junk=st.binary(max_size=4), ascii_only=st.booleans())
def test_no_mutated_object_can_raise(data: dict, place: int, junk: bytes, ascii_only: bool) -> None:
    line = json.dumps(data, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    place %= len(line) + 1
    found = decode(line[:place] + junk + line[place + len(junk) // 2 :])

    assert isinstance(found, str) or is_storable(found)


@pytest.mark.thorough
@settings(deadline=None)
@given(data=_OBJECTS)
def test_what_any_writer_of_json_makes_of_an_object_is_an_object(data: dict) -> None:
    found = decode(json.dumps(data).encode())

    assert isinstance(found, dict)
    assert is_storable(found)


@pytest.mark.parametrize("line", [*_NO_OBJECTS, *_NEARLY_OBJECTS])
def test_what_is_no_object_is_text(line: bytes) -> None:
    assert decode(line) == line.decode()


def test_spaces_around_an_object_do_no_harm() -> None:
    assert decode(b' \t{"a": 1} \r') == {"a": 1}


def test_an_object_may_be_empty() -> None:
    assert decode(b"{}") == {}


def test_of_duplicate_keys_the_last_counts() -> None:
    assert decode(b'{"a":1,"a":2}') == {"a": 2}
    assert decode(b'{"a":1,"a":NaN,"a":3}') == {"a": 3}


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert decode(b'{"a":"\xff!","b":"gr\xc3\xbcn"}') == {"a": "\ufffd!", "b": "grün"}
    assert decode(b"caf\xe9") == "caf\ufffd"


def test_separators_of_lines_inside_a_string_stay_there() -> None:
    assert decode('{"a":"1\u2028\u2029\u00852"}'.encode()) == {"a": "1\u2028\u2029\u00852"}


@pytest.mark.parametrize("line", [b'{"a":"1\\u00002"}', b'{"a":"1\x002"}'])
def test_nul_characters_survive(line: bytes) -> None:
    assert decode(line) == {"a": "1\x002"}


def test_lone_surrogates_are_replaced_in_keys_and_values() -> None:
    found = decode(rb'{"\udfff":["\ud800",{"b":"\ud83d!"}],"c":"\ud83d\ude00"}')

    assert found == {"\ufffd": ["\ufffd", {"b": "\ufffd!"}], "c": "\U0001f600"}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400"])
def test_what_no_float_can_hold_is_none(number: bytes) -> None:
    assert decode(b'{"a":[' + number + b"]}") == {"a": [None]}


@pytest.mark.parametrize("beside", [b"1", b"NaN"])  # the second is left to another library
def test_integers_beyond_64_bit_become_floats(beside: bytes) -> None:
    found = decode(b'{"a":1180591620717411303424,"b":-18446744073709551616,"c":%s}' % beside)

    assert isinstance(found, dict)
    assert (found["a"], found["b"]) == (2.0**70, -(2.0**64))
    assert isinstance(found["a"], float)


@pytest.mark.parametrize("beside", [b"1", b"NaN"])
def test_integers_of_64_bit_stay_exact(beside: bytes) -> None:
    found = decode(b'{"a":-9223372036854775808,"b":18446744073709551615,"c":%s}' % beside)

    assert isinstance(found, dict)
    assert (found["a"], found["b"]) == (-(2**63), 2**64 - 1)


def test_an_integer_that_no_float_can_hold_becomes_its_digits() -> None:
    digits = "9" * 5000

    assert decode(b'{"a":' + digits.encode() + b"}") == {"a": digits}


def test_a_float_keeps_its_value() -> None:
    found = decode(b'{"a":0.1,"b":NaN,"c":1e300,"d":-0.0}')

    assert isinstance(found, dict)
    assert (found["a"], found["c"]) == (0.1, 1e300)
    assert math.copysign(1, found["d"]) == -1


@pytest.mark.parametrize("beginning", [b'{"a":', b"[", b'{"a":['])
def test_nesting_without_end_is_text(beginning: bytes) -> None:
    line = b'{"a":' + beginning * 100_000

    assert decode(line) == line.decode()


def test_an_object_nested_100_000_deep_is_text() -> None:
    line = b'{"a":' * 100_000 + b"1" + b"}" * 100_000

    assert decode(line) == line.decode()


@pytest.mark.parametrize("depth", [240, 300, 450, 900, 1000])
def test_the_stack_does_not_decide_what_is_an_object(depth: int) -> None:
    # the surrogate is what leaves it to the library that recurses
    line = rb'{"a":"\ud800","b":' + b"[" * depth + b"]" * depth + b"}"

    def deeper(levels: int) -> object:
        return deeper(levels - 1) if levels else decode(line)

    assert deeper(200) == decode(line)
    assert isinstance(decode(line), dict) == (depth < 250)


def test_strings_and_numbers_can_be_stored() -> None:
    found = decode(rb'{"a":"\ud800","b":1180591620717411303424,"c":NaN,"d":"\u0000"}')

    assert isinstance(found, dict)
    with closing(sqlite3.connect(":memory:")) as database:
        row = database.execute("SELECT ?, ?, ?, ?", [found[key] for key in "abcd"]).fetchone()
    assert list(row) == list(found.values())
