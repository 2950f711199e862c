"""Mahavishnu workers that run Claude Code."""

from __future__ import annotations
