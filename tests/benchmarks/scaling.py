"""Many at once and many in all: a hundred running workers, ten thousand tasks through a limit of a hundred.

Method: real processes (``/bin/sh``), the figures of this process and of the keeper from /proc. Prints what
was found at the end: results, rows in the database, files left to do, processes and descriptors.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import trio

from mahavishnu_core import WorkerManager, WorkerStatus
from mahavishnu_core.events import TaskEvent

WIDTH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000, help="ten thousand take some minutes")
    given = parser.parse_args()
    print(f"scaling: {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as state:
        os.environ["MAHAVISHNU_STATE_DIR"] = state
        trio.run(_at_once)
    with tempfile.TemporaryDirectory() as state:
        os.environ["MAHAVISHNU_STATE_DIR"] = state
        trio.run(_in_all, given.tasks)


async def _at_once() -> None:
    async with WorkerManager(max_concurrent=WIDTH) as manager:
        ids = await manager.spawn_workers("shell", WIDTH)
        all_begun, begun = trio.Event(), set[str]()

        def note(event: TaskEvent) -> None:
            begun.add(event.worker_id)
            if len(begun) == WIDTH:
                all_begun.set()

        manager.observe(note)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.execute_batch, ids, ["echo begun; exec sleep 60"] * WIDTH)
            with trio.fail_after(60):
                await all_begun.wait()
            engine, keeper = _memory(os.getpid()), _memory(_keeper(manager.engine.state_dir))
            print(f"  {WIDTH} running: engine {engine} MB (at most 100), keeper {keeper} MB (at most 20)")
            began = time.perf_counter()
            await manager.cancel_tasks()
        statuses = {report.status for report in manager.monitor_workers(ids)}
        assert statuses == {WorkerStatus.CANCELLED}, statuses
        print(f"  all cancelled after {time.perf_counter() - began:.1f} s")


async def _in_all(tasks: int) -> None:
    descriptors = _descriptors()
    async with WorkerManager(max_concurrent=WIDTH) as manager:
        ids = await manager.spawn_workers("shell", WIDTH)
        began = time.perf_counter()
        results = await manager.execute_batch(
            [ids[n % WIDTH] for n in range(tasks)], [f"echo {n}" for n in range(tasks)]
        )
        seconds = time.perf_counter() - began
        right = sum(result.output == str(n) for n, result in enumerate(results))
        left = len(list(manager.app.state.open_tasks()))
        state_dir = manager.engine.state_dir
    with sqlite3.connect(state_dir / "results.sqlite3") as database:
        (rows,) = database.execute("SELECT count(*) FROM results").fetchone()
    print(f"  {tasks} tasks through a limit of {WIDTH}: {seconds:.1f} s, {tasks / seconds:.0f}/s")
    print(f"  right results {right}, rows in the database {rows}, left to do {left}")
    print(f"  descriptors before {descriptors}, after {_descriptors()}")
    print(f"  engine {_memory(os.getpid())} MB at the most")


def _keeper(state_dir: Path) -> int:
    return int((state_dir / "keeper.lock").read_text())


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _memory(pid: int) -> int:
    """The most memory a process ever had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
