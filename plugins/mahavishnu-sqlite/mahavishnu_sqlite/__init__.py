"""Keeps Mahavishnu results in a searchable SQLite database."""

from __future__ import annotations
