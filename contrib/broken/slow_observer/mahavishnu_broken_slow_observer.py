"""Broken: its monitor never comes back."""

from __future__ import annotations

import time

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def monitor(event: object) -> None:
    time.sleep(10**6)
