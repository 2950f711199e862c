"""Reads the JSON object on a line, whatever the line holds, so that its values can be stored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

DEEPEST = 200
"""How deep objects and lists may be nested. ``orjson.dumps`` refuses 255, and what we read gets wrapped."""

_SHORTEST_DEEP_LINE = 2 * DEEPEST
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(line: bytes) -> dict[str, JSON] | str:
    """The JSON object on this line, or the line's text if it is not one. Never raises.

    Text is UTF-8; bytes that are not become U+FFFD, as lone surrogates do. Integers beyond 64 bit become
    floats, or their digits as text where no float is big enough; NaN and infinities become None. An object
    nested deeper than ``DEEPEST`` is given as text.
    """
    return decode_all([line])[0]


def decode_all(lines: Sequence[bytes]) -> list[dict[str, JSON] | str]:
    """``decode`` of each line; hardly slower than orjson alone where all lines are objects."""
    found = _load(lines)
    for index, line in enumerate(lines):
        if len(line) > _SHORTEST_DEEP_LINE and _count_brackets(line) > DEEPEST and _is_deep(found[index]):
            found[index] = None
    if {*map(type, found)} == {dict}:
        return found  # type: ignore[return-value]  # the line above says so
    return [
        item if isinstance(item, dict) else text_of(line) for item, line in zip(found, lines, strict=True)
    ]


def text_of(line: bytes) -> str:
    """The line as text; what is not UTF-8 becomes U+FFFD."""
    return line.decode("utf-8", "replace")


def _load(lines: Sequence[bytes]) -> list[JSON]:
    found: list[JSON] = []
    rest = iter(lines)
    while len(found) < len(lines):
        try:
            found.extend(map(orjson.loads, rest))
        except orjson.JSONDecodeError:
            # what was read before it is in `found`, whose length so tells which line was refused
            found.append(_load_leniently(lines[len(found)]))
    return found


def _count_brackets(line: bytes) -> int:
    # `replace` leaps from bracket to bracket where `count` would look at every byte
    return 2 * len(line) - len(line.replace(b"{", b"")) - len(line.replace(b"[", b""))


def _is_deep(data: JSON) -> bool:
    level = [data]
    for _ in range(DEEPEST):
        level = [child for value in level for child in _children(value) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(value: JSON) -> Iterable[JSON]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _load_leniently(line: bytes) -> JSON:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        data: JSON = _LENIENT.decode(text_of(line))
    except (ValueError, RecursionError):
        return None
    return None if _is_deep(data) else _without_surrogates(data)


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
