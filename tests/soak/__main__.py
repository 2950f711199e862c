"""``python -m tests.soak``: a soak of some minutes, or until so many kills have happened."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import trio

from .driver import Plan, soak


def main() -> int:
    plan = _asked()
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    report = trio.run(soak, root, plan)
    print(*report.lines, sep="\n")
    if report.faults:
        print(
            f"seed {plan.seed}: {len(report.faults)} faults, all of it lies in {root}",
            *report.faults,
            sep="\n",
        )
        return 1
    shutil.rmtree(root)
    print(f"seed {plan.seed}: nothing was lost, nothing is left")
    return 0


def _asked() -> Plan:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--width", type=int, default=20, help="how many tasks run at once")
    parser.add_argument("--kills", type=int, default=0, help="go on until so many, instead of for minutes")
    given = parser.parse_args()
    return Plan(given.seed, given.minutes, given.width, given.kills)


if __name__ == "__main__":
    sys.exit(main())
