"""The console script. Until a command is known there is nothing but imports, in which there is no garbage."""

from __future__ import annotations

import gc
import sys

gc.disable()  # a tenth of the start; ``LazyGroup`` enables it again before a command runs

from mahavishnu_cli.main import run  # noqa: E402


def main() -> None:
    sys.exit(run(sys.argv[1:]))
