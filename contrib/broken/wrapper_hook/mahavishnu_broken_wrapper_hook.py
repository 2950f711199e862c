"""Broken: its hook is a wrapper around those of all others."""

from __future__ import annotations

from collections.abc import Generator

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl(wrapper=True)
def worker_types() -> Generator[None, object, object]:
    return (yield)
