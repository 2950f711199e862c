"""Mahavishnu workers that run shell command lines."""

from __future__ import annotations
