"""Broken: its monitor prints to standard output, among the results."""

from __future__ import annotations

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def monitor(event: object) -> None:
    print("an observer was here")
