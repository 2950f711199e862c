"""How deep workers are nested: a worker that runs Mahavishnu itself is known by a variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPTH = "MAHAVISHNU_DEPTH"
"""Set for every command that a worker runs: 1 for a worker of yours, 2 for a worker of that worker."""


def depth_of(environ: Mapping[str, str]) -> int:
    """How many workers stand between us and the user; 0 for none."""
    text = environ.get(DEPTH, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def require_shallow(environ: Mapping[str, str], most: int) -> None:
    """Refuse to let workers start workers of their own, and so on without end. Raises UsageError."""
    depth = depth_of(environ)
    if depth >= most:
        raise UsageError(
            f"this is itself a worker (depth {depth}), and workers may be nested {most} deep: "
            f"allow more with 'mahavishnu config set max_worker_depth {depth + 1}'"
        )
