"""Broken: its entry point names a module that is not there, as after a half-done upgrade."""

from __future__ import annotations

HOOK_API = 1
