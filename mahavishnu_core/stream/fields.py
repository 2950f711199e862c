"""Reads fields of JSON objects that nobody vouches for: what is not of the type asked for is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_LARGEST = 2**53
"""So that sums of them can still be written as JSON, which ends at 64 bit."""


def text(data: Mapping[str, JSON], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None


def texts(data: Mapping[str, JSON], key: str) -> list[str]:
    value = data.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(data: Mapping[str, JSON], key: str) -> float | None:
    """A number from 0 up; true and false are none."""
    value = data.get(key)
    if type(value) is int or type(value) is float:  # not isinstance: a bool is an int
        return float(value) if value >= 0 else None
    return None


def whole(data: Mapping[str, JSON], key: str) -> int | None:
    """A whole number from 0 up to 2**53, also where it is written as 1e3."""
    value = data.get(key)
    if type(value) is int or type(value) is float:
        return int(value) if 0 <= value <= _LARGEST else None
    return None


def count(data: Mapping[str, JSON], key: str) -> int:
    """A whole number from 0 up; 0 where there is none."""
    value = data.get(key)
    if type(value) is int and 0 <= value <= _LARGEST:  # nearly always, and asked for often
        return value
    return whole(data, key) or 0


def record(data: Mapping[str, JSON], key: str) -> dict[str, JSON]:
    """An object; an empty one where there is none."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def records(data: Mapping[str, JSON], key: str) -> list[dict[str, JSON]]:
    """The objects in a list."""
    value = data.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
