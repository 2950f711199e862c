"""What a Session-Buddy costs a run that mirrors into it, above all one that listens and never answers.

Method: three tasks of a shell worker each, whole processes, wall time, in turn without the mirror, with a
server that hangs, and with nobody listening, each in a state directory of its own; medians. After each run
there is a pause, in which the relay that it has left loads its libraries: what that takes is none of the next
run's. Then the relay waits for the hanging server while others are measured, as it would for a user.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

MAHAVISHNU = str(Path(sys.executable).with_name("mahavishnu"))
BOUND = 1.05
PAUSE = 2.0
"""Seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    hanging, mute = socket.create_server(("127.0.0.1", 0), backlog=128), socket.socket()
    with closing(hanging), closing(mute):
        mute.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        settings = {
            "without": {"INTEGRATION": "false"},
            "a server that hangs": {"INTEGRATION": "true", "URL": _url(hanging)},
            "nobody listens": {"INTEGRATION": "true", "URL": _url(mute)},
        }
        times: dict[str, list[float]] = {name: [] for name in settings}
        with tempfile.TemporaryDirectory() as home:
            for number in range(rounds + 1):
                for place, (name, values) in enumerate(settings.items()):
                    environ = {f"MAHAVISHNU_SESSION_BUDDY_{key}": value for key, value in values.items()}
                    environ["MAHAVISHNU_STATE_DIR"] = f"{home}/{number}.{place}"
                    times[name].append(_seconds(os.environ | environ))
    print(f"mirroring: {rounds} rounds, {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    reference = statistics.median(times["without"][1:])
    for name, found in times.items():
        median = statistics.median(found[1:])
        print(f"  {name:22} {median * 1000:6.1f} ms   ratio {median / reference:.2f} (at most {BOUND})")


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


def _seconds(environ: dict[str, str]) -> float:
    words = ["workers", "execute", "-t", "shell", "-n", "3", "-p", "sleep 0.2"]
    began = time.perf_counter()
    subprocess.run([MAHAVISHNU, *words], env=environ, capture_output=True, check=True)
    seconds = time.perf_counter() - began
    time.sleep(PAUSE)
    return seconds


if __name__ == "__main__":
    main()
