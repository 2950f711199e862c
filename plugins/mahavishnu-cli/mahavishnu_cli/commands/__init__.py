"""One module a command, imported when it is run."""

from __future__ import annotations
