"""The variables of a test: a home of its own, and nothing sent to a server that this machine may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MIRRORS_NOTHING = {"MAHAVISHNU_SESSION_BUDDY_INTEGRATION": "false"}
"""For every test that is not about it."""
REACHES_NOBODY = {"MAHAVISHNU_SESSION_BUDDY_URL": "http://127.0.0.1:9/mcp"}
"""For looking at the storage itself: port 9, which is reserved for what nobody runs any more."""


def home_in(directory: Path, variables: Mapping[str, str] = MIRRORS_NOTHING) -> dict[str, str]:
    """The whole environment of an app whose home and settings lie in a directory."""
    return {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "config"), **variables}
