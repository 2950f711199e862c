"""Broken: its worker_types never comes back."""

from __future__ import annotations

import time

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> list[object]:
    time.sleep(10**6)
    return []
