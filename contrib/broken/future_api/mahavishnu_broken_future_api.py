"""Broken: it was written for hooks that are not there yet."""

from __future__ import annotations

HOOK_API = 99
