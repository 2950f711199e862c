"""Reads the JSON object on a line, whatever the line holds, so that it can be stored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from mahavishnu_core.stream.writable import is_writable

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(line: bytes) -> dict[str, JSON] | str:
    """The JSON object on this line, or the line's text if it is not one. Never raises.

    Text is UTF-8; bytes that are not become U+FFFD, as lone surrogates do. Integers beyond 64 bit become
    floats, or their digits as text where no float is big enough; NaN and infinities become None. Control
    characters in a string may stand for themselves.
    """
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError:
        item = _load_leniently(line)
    return item if isinstance(item, dict) else text_of(line)


def decode_objects(lines: Sequence[bytes]) -> list[dict[str, JSON]] | None:
    """``decode`` of all lines at a fraction of the cost, if every one of them is plainly an object."""
    try:
        items: list[dict[str, JSON]] = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return None
    return items if set(map(type, items)) == {dict} else None


def text_of(line: bytes) -> str:
    """The line as text; what is not UTF-8 becomes U+FFFD."""
    return line.decode("utf-8", "replace")


def _load_leniently(line: bytes) -> JSON:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        data: JSON = _LENIENT.decode(text_of(line))
        data = _without_surrogates(data) if b"\\u" in line else data
    except (ValueError, RecursionError):
        return None
    # how deep we got depends on the stack, which must not decide what is an object
    return data if is_writable(data) else None


def _integer(digits: str) -> int | float | str:
    if len(digits) <= len(str(-(2**64))) and -(2**63) <= (whole := int(digits)) < 2**64:
        return whole
    return digits if math.isinf(number := float(digits)) else number


def _fraction(digits: str) -> float | None:
    return None if math.isinf(number := float(digits)) else number


def _not_a_number(name: str) -> None:
    return None


_LENIENT = json.JSONDecoder(
    parse_int=_integer, parse_float=_fraction, parse_constant=_not_a_number, strict=False
)


def _without_surrogates(value: JSON) -> JSON:
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {str(_without_surrogates(key)): _without_surrogates(item) for key, item in value.items()}
    return value
