"""Broken: its worker types have names that no worker type may have."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_core import WorkerType, hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> Iterator[WorkerType]:
    for name in ("../x", "red\x1b[31m", "x" * 10_240, ""):
        yield WorkerType(name, "shell")
