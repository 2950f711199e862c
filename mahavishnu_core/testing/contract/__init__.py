"""The contract that plugins keep: every promise a row, for ``plugins check`` and for plugins' own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.testing.contract import (
    clocked,
    commands,
    declared,
    misbehaving,
    observers,
    parsers,
    places,
    storages,
)
from mahavishnu_core.testing.contract.row import Broken, DoesNotApply, Outcome, Row
from mahavishnu_core.testing.contract.subject import open_subject

if TYPE_CHECKING:
    from mahavishnu_core.testing.contract.subject import Subject

__all__ = ["Broken", "DoesNotApply", "Outcome", "Row", "rows_for", "rows_of"]

_PARTS = (declared, commands, parsers, clocked, places, storages, observers, misbehaving)


def rows_for(plugin: str) -> list[Row]:
    """The rows that an installed plugin is to keep. Raises UsageError for an unknown one, and PluginError."""
    return rows_of(open_subject(plugin))


def rows_of(subject: Subject) -> list[Row]:
    return [row for part in _PARTS for row in part.rows(subject)]
