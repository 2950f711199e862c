"""Mahavishnu workers that run Codex."""

from __future__ import annotations
