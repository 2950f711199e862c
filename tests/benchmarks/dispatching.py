"""How many tasks a second are carried out and stored, against ``xargs`` running the same stub ten wide.

Method: the stub is a command that an agent's shortest answer would cost at the least. Both sides run it as
often, ten at a time, in turn (A B A B …); ours includes the files of every task, its verdict, and its row in
SQLite, the reference keeps nothing. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import trio

from mahavishnu_core import WorkerManager

WIDTH = 10
WORKERS = 2 * WIDTH
"""While the results of some are being kept, the others can run; at most ``WIDTH`` commands do at once."""
STUBS = {
    "nothing at all (sh -c :)": ":",
    "an interpreter's start (python3 -I -S -c pass)": f"exec {sys.executable} -I -S -c pass",
    "a tenth of a second of waiting (sleep 0.1)": "exec sleep 0.1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"dispatching: {given.tasks} tasks x {given.rounds}, width {WIDTH}, {os.cpu_count()} processors")
    for name, stub in STUBS.items():
        ours, reference = [], []
        for _ in range(given.rounds):
            ours.append(given.tasks / _ours(stub, given.tasks))
            reference.append(given.tasks / _reference(stub, given.tasks))
        us, them = statistics.median(ours), statistics.median(reference)
        print(f"  {name}: {us:.0f}/s, xargs {them:.0f}/s, ratio {us / them:.2f}")


def _reference(stub: str, tasks: int) -> float:
    began = time.perf_counter()
    lines = "\n".join(map(str, range(tasks)))
    xargs = ["xargs", "-P", str(WIDTH), "-n", "1", "/bin/sh", "-c", stub]
    subprocess.run(xargs, input=lines.encode(), check=True)
    return time.perf_counter() - began


def _ours(stub: str, tasks: int) -> float:
    with tempfile.TemporaryDirectory() as state:
        os.environ["MAHAVISHNU_STATE_DIR"] = state
        return trio.run(_carry_out, stub, tasks)


async def _carry_out(stub: str, tasks: int) -> float:
    async with WorkerManager(max_concurrent=WIDTH) as manager:
        ids = await manager.spawn_workers("shell", WORKERS)
        await manager.execute_batch(ids, [":"] * WORKERS)  # the keeper is up, the database open
        began = time.perf_counter()
        results = await manager.execute_batch([ids[n % WORKERS] for n in range(tasks)], [stub] * tasks)
        seconds = time.perf_counter() - began
        assert all(result.is_success() for result in results)
        assert not manager.storage_failures
        return seconds


if __name__ == "__main__":
    main()
