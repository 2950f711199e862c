"""The console script. Until a command is known there is nothing but imports, in which there is no garbage."""

from __future__ import annotations

import gc
import os
import signal
import sys

for _number in range(3):
    try:
        os.fstat(_number)
    except OSError:  # closed: the next file that is opened would take its place, and what is meant for people
        os.open(os.devnull, os.O_RDWR)
sys.stdin = sys.stdin or open(0)  # noqa: SIM115  # for the rest of the program
sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115

gc.disable()  # a tenth of the start; ``LazyGroup`` enables it again before a command runs
_at_ctrl_c = signal.getsignal(signal.SIGINT)
if _at_ctrl_c is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it would end the imports with a traceback

from mahavishnu_cli.main import run  # noqa: E402


def main() -> None:
    signal.signal(signal.SIGINT, _at_ctrl_c)
    sys.exit(run(sys.argv[1:]))
