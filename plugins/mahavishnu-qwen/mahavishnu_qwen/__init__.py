"""Mahavishnu workers that run Qwen Code."""

from __future__ import annotations
