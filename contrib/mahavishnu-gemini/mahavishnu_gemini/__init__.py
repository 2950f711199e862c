"""Mahavishnu workers that run Gemini CLI."""

from __future__ import annotations
