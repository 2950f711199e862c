"""Broken: its monitor raises."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def monitor(event: object) -> None:
    raise RuntimeError("cannot look")
