"""An agent whose every step a test decides: it obeys the lines that come from a FIFO of its own.

Before anything else it writes down that it was started; what it has done it tells by the bell.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    corner, task = sys.argv[1], os.environ["MAHAVISHNU_TASK"]
    _append(f"{corner}/starts", task)
    orders = f"{corner}/{task}"
    os.mkfifo(orders)
    with os.fdopen(
        os.open(orders, os.O_RDWR), encoding="utf-8"
    ) as lines:  # both ends: it never ends by itself
        _append(f"{corner}/bell", json.dumps({"task": task, "pid": os.getpid(), "prompt": sys.stdin.read()}))
        for line in lines:
            order, _, rest = line.rstrip("\n").partition(" ")
            _obey(order, rest)
            _append(f"{corner}/bell", json.dumps({"task": task, "done": order}))


def _obey(order: str, rest: str) -> None:
    if order == "say":
        os.write(1, f"{rest}\n".encode())
    elif order == "exit":
        os._exit(int(rest))
    elif order == "ignore":
        signal.signal(signal.Signals[rest], signal.SIG_IGN)


def _append(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


main()
