"""Broken: its hook wants an argument that the hook has not."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def execute(worker: object, colour: str) -> None:
    return None
