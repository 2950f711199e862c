"""The targets by their names, and where what was found is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import settings, stream

TARGETS: dict[str, Callable[[bytes], None]] = {"stream": stream.fuzz, "settings": settings.fuzz}
"""Each raises for an input that shows a fault."""
FINDS = Path(__file__).with_name("finds")
"""Inputs that have shown one, a folder for each target: they are tried with every run of the tests."""
