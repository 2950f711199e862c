"""How many tasks a second are carried out and stored, against ``xargs`` running the same stub ten wide.

Method: the stub is a command that an agent's shortest answer would cost at the least. Both sides run it as
often, ten at a time, in turn (A B A B …); ours includes the files of every task, its verdict, and its row in
SQLite, the reference keeps nothing. Medians of the rounds. Where the time goes: processor time a task of the
engine, of the keeper, and of the stub as its parent sees it.

The state directory lies in memory unless ``--directory`` says otherwise: on ext4 a new file costs up to fifty
times more for a minute after many were deleted beside it, as test runs do, and that is not what is measured.
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
from typing import NamedTuple

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
    parser.add_argument("--directory", type=Path, default=_memory())
    given = parser.parse_args()
    print(f"dispatching: {given.tasks} tasks x {given.rounds}, width {WIDTH}, {os.cpu_count()} processors")
    for name, stub in STUBS.items():
        ours, reference = [], []
        for _ in range(given.rounds):
            ours.append(_ours(stub, given.tasks, given.directory))
            reference.append(given.tasks / _reference(stub, given.tasks))
        us, them = statistics.median(run.rate for run in ours), statistics.median(reference)
        print(f"  {name}: {us:.0f}/s, xargs {them:.0f}/s, ratio {us / them:.2f} (bound: at least 1)")
        costs = [statistics.median(run.costs[part] for run in ours) for part in range(3)]
        print("    engine {:.2f} ms, keeper {:.2f} ms, stub {:.2f} ms a task".format(*costs))


class Run(NamedTuple):
    """Tasks a second, and milliseconds of processor time a task: of the engine, the keeper, the stub."""

    rate: float
    costs: tuple[float, float, float]


def _memory() -> Path | None:
    """A directory in memory; None, for the usual temporary one, where there is none."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


def _reference(stub: str, tasks: int) -> float:
    began = time.perf_counter()
    lines = "\n".join(map(str, range(tasks)))
    xargs = ["xargs", "-P", str(WIDTH), "-n", "1", "/bin/sh", "-c", stub]
    subprocess.run(xargs, input=lines.encode(), check=True)
    return time.perf_counter() - began


def _ours(stub: str, tasks: int, directory: Path | None) -> Run:
    with tempfile.TemporaryDirectory(dir=directory) as state:
        os.environ["MAHAVISHNU_STATE_DIR"] = state
        return trio.run(_carry_out, stub, tasks)


async def _carry_out(stub: str, tasks: int) -> Run:
    async with WorkerManager(max_concurrent=WIDTH) as manager:
        ids = await manager.spawn_workers("shell", WORKERS)
        await manager.execute_batch(ids, [":"] * WORKERS)  # the keeper is up, the database open
        keeper = int((manager.engine.state_dir / "keeper.lock").read_text())
        began, before = time.perf_counter(), _spent(keeper)
        results = await manager.execute_batch([ids[n % WORKERS] for n in range(tasks)], [stub] * tasks)
        seconds, after = time.perf_counter() - began, _spent(keeper)
        assert all(result.is_success() for result in results)
        assert not manager.storage_failures
        engine, own, children = ((a - b) * 1000 / tasks for a, b in zip(after, before, strict=True))
        return Run(tasks / seconds, (engine, own, children))


def _spent(keeper: int) -> tuple[float, float, float]:
    """Seconds of processor time so far: of this process, of the keeper, of the keeper's ended children."""
    stat = Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()
    own, own_system, children, children_system = (int(ticks) for ticks in stat[11:15])
    tick = os.sysconf("SC_CLK_TCK")
    return time.process_time(), (own + own_system) / tick, (children + children_system) / tick


if __name__ == "__main__":
    main()
