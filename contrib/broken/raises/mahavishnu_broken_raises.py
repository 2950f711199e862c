"""Broken: its worker_types raises."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> list[object]:
    raise RuntimeError("no luck")
