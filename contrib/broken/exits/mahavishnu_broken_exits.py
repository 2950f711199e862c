"""Broken: its worker_types ends the program, and says that all is well."""

from __future__ import annotations

import sys

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> list[object]:
    sys.exit(0)
