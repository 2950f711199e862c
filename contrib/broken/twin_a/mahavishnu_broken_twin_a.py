"""Broken: it offers a worker type that another plugin offers too."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_core import WorkerType, hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> Iterator[WorkerType]:
    yield WorkerType("twin", "twin")
