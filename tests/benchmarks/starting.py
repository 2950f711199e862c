"""How long the command line takes to start, against importing the libraries it cannot do without.

Method: whole processes, wall time, the commands in turn (A B C A B C …), medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REFERENCE = [sys.executable, "-c", "import click, pluggy, attrs"]
MAHAVISHNU = str(Path(sys.executable).with_name("mahavishnu"))
BOUND = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    commands = {
        "reference": REFERENCE,
        "mahavishnu --help": [MAHAVISHNU, "--help"],
        "mahavishnu workers list": [MAHAVISHNU, "workers", "list"],
    }
    with tempfile.TemporaryDirectory() as state:
        environ = os.environ | {"MAHAVISHNU_STATE_DIR": f"{state}/state"}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                times[name].append(_seconds(command, environ))
    print(f"starting: {rounds} rounds, {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    reference = statistics.median(times["reference"][1:])
    for name, found in times.items():
        median = statistics.median(found[1:])
        print(f"  {name:26} {median * 1000:6.1f} ms   ratio {median / reference:.2f} (at most {BOUND})")


def _seconds(command: list[str], environ: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
