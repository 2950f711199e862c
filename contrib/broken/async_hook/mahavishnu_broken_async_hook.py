"""Broken: its hook is an 'async def', which could not decline."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
async def store_result(result: object) -> None:
    return None
