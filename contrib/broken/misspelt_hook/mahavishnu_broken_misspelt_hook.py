"""Broken: the name of its hook is misspelt."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def worker_tpyes() -> list[object]:
    return []
