"""The fault matrix as values, from ``matrix.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs


@attrs.frozen
class Row:
    """One fault and the promise for it."""

    id: str
    fault: str
    """What happens, in a few words."""
    promise: str
    """What a user sees then, and what is kept."""


@attrs.frozen
class Section:
    """Rows about one part of the whole."""

    title: str
    rows: tuple[Row, ...]


def sections() -> list[Section]:
    told = tomllib.loads(Path(__file__).with_name("matrix.toml").read_text(encoding="utf-8"))
    return [Section(each["title"], tuple(Row(**row) for row in each["row"])) for each in told["section"]]


def all_rows() -> list[Row]:
    return [row for section in sections() for row in section.rows]
