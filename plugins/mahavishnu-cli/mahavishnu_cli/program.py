"""The console script. Until a command is known there is nothing but imports, in which there is no garbage."""

from __future__ import annotations

import gc
import signal
import sys

gc.disable()  # a tenth of the start; ``LazyGroup`` enables it again before a command runs
_at_ctrl_c = signal.getsignal(signal.SIGINT)
if _at_ctrl_c is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it would end the imports with a traceback

from mahavishnu_cli.main import run  # noqa: E402


def main() -> None:
    signal.signal(signal.SIGINT, _at_ctrl_c)
    sys.exit(run(sys.argv[1:]))
