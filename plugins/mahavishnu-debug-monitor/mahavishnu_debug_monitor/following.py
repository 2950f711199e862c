"""The command that follows the debug log: what a window runs, and what people run who have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def follow(log: Path, place: int = 0) -> tuple[str, ...]:
    """Shows the log from a place on, in bytes, and goes on when it is moved away or comes into being."""
    return ("tail", "-c", f"+{place + 1}", "-F", str(log))
