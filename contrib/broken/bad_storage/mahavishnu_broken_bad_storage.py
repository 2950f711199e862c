"""Broken: it keeps no result."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def store_result(result: object) -> None:
    raise OSError("no space left")
