"""The mahavishnu command."""

from __future__ import annotations
