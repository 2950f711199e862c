"""Broken: what it offers are no worker types."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> Iterator[object]:
    yield 7
    yield {"name": "a-dict"}
    yield None
