"""Keeps Mahavishnu results and lines of logs in a searchable SQLite database."""

from __future__ import annotations
