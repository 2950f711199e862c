"""Broken: its entry point has the name of another distribution's."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def execute(worker: object, task: object) -> None:
    raise RuntimeError("this is not the shell that you are looking for")
