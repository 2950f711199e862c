"""A part of a text by its bytes, so that parts laid side by side are the whole: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 16 * 1024 * 1024
"""Bytes in one answer. What is longer has to be read in parts."""
_MOST_OF_A_CHARACTER = 4


@attrs.frozen
class Range:
    """``length`` bytes from ``offset`` on; None to the end."""

    offset: int = 0
    length: int | None = None

    @classmethod
    def parse(cls, offset: str, length: str) -> Range:
        """Of the query of a URI. Raises UsageError for what are no numbers."""
        return cls(_number("offset", offset) or 0, _number("length", length))


def cut(
    wanted: Range, size: int, read: Callable[[int, int], bytes], secrets: tuple[str, ...] = ()
) -> str | bytes:
    """That range of ``size`` bytes of which ``read(begin, end)`` gives any part.

    A character belongs to the range in which it begins. What is no UTF-8 comes as bytes. Secrets are starred
    out, so that nothing moves. Raises UsageError for more than ``LONGEST``.
    """
    begin = min(wanted.offset, size)
    end = size if wanted.length is None else min(size, begin + wanted.length)
    if end - begin > LONGEST:
        raise UsageError(
            f"that is {end - begin} bytes: read {LONGEST} at most, with ?offset=0&length={LONGEST}"
        )
    values = [secret.encode("utf-8", "surrogateescape") for secret in secrets]
    margin = max(map(len, values), default=0) + _MOST_OF_A_CHARACTER
    start = max(0, begin - margin)
    data = _starred(read(start, min(size, end + margin)), values)
    # what stands before the first character, in what is no UTF-8, is in the range that begins at 0
    first, last = (place and _boundary(data, place - start) for place in (begin, end))
    part = data[first:last]
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise UsageError(f"{name} must be a number of bytes, not {text[:40]!r}")
    return int(text)


def _boundary(data: bytes, place: int) -> int:
    """The next place at which a character begins; the place itself in what is no UTF-8."""
    for ahead in range(_MOST_OF_A_CHARACTER):
        if place + ahead >= len(data) or data[place + ahead] & 0xC0 != 0x80:
            return min(place + ahead, len(data))
    return place


def _starred(data: bytes, values: list[bytes]) -> bytes:
    """The data with every place starred at which a value stands, also where several overlap.

    So it does not matter from where on one looks.
    """
    starred = bytearray(data)
    for value in values:
        place = data.find(value)
        while place >= 0:
            starred[place : place + len(value)] = b"*" * len(value)
            place = data.find(value, place + 1)
    return bytes(starred)
