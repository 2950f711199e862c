"""Mahavishnu workers that run OpenCode."""

from __future__ import annotations
