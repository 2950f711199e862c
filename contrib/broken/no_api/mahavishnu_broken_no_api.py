"""Broken: it does not say which version of the hooks it was written for."""

from __future__ import annotations

from mahavishnu_core import hookimpl


@hookimpl
def worker_types() -> list[object]:
    return []
