"""Broken: it imports a module that is not there."""

from __future__ import annotations

import no_such_module_anywhere  # noqa: F401
