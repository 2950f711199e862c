"""How fast results are stored: 100 callers of ``Store.keep`` beside a bare sqlite3 loop, 100 rows a commit.

    python tests/benchmarks/storing.py [--rows 20000] [--rounds 5] [--directory DIR]

Both write the same rows into the same tables (index of words included) in new files side by side, with a
write-ahead log and full synchronisation; the rounds take turns, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import attrs
import trio

from mahavishnu_core import Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_sqlite.record import ResultRecord, record_of
from mahavishnu_sqlite.schema import prepare
from mahavishnu_sqlite.store import open_store

CALLERS = 100
ROWS_A_COMMIT = 100
SENTENCE = "the worker wrote a parser and a test for it, ran both and told what came of them"
WORKER = Worker("w1", WorkerType(name="shell", agent="shell"), Path("/repo"), "2026-01-01T00:00:00+00:00")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    records = [a_record(number) for number in range(options.rows)]
    stored, bare, commits = [], [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            seconds, count = trio.run(through_the_store, Path(directory, "store.sqlite3"), records)
            stored.append(len(records) / seconds)
            commits.append(len(records) / count)
            bare.append(len(records) / through_sqlite(Path(directory, "bare.sqlite3"), records))
    report(options.rows, options.rounds, stored, bare, commits)


def a_record(number: int) -> ResultRecord:
    created = "2026-01-01T00:00:00+00:00"
    task = Task(f"w1.{number}", "w1", "write a parser", 60, "s1", False, created, Path("/t"))
    output = "\n".join(f"{SENTENCE} {number + line}" for line in range(10))
    return record_of(WORKER, task, WorkerResult("w1", WorkerStatus.COMPLETED, output=output, exit_code=0))


async def through_the_store(path: Path, records: Sequence[ResultRecord]) -> tuple[float, int]:
    """Seconds and commits."""

    async def call(share: Sequence[ResultRecord]) -> None:
        for record in share:
            await store.keep(record)

    async with open_store(path) as store:
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for caller in range(CALLERS):
                nursery.start_soon(call, records[caller::CALLERS])
        return time.perf_counter() - started, store.commits


def through_sqlite(path: Path, records: Sequence[ResultRecord]) -> float:
    """Seconds."""
    rows = [attrs.astuple(record) for record in records]
    places = ", ".join("?" * len(rows[0]))
    names = ", ".join(field.name for field in attrs.fields(ResultRecord))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        prepare(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        started = time.perf_counter()
        for first in range(0, len(rows), ROWS_A_COMMIT):
            connection.execute("BEGIN IMMEDIATE")
            for row in rows[first : first + ROWS_A_COMMIT]:
                connection.execute(f"INSERT INTO results ({names}) VALUES ({places})", row)
            connection.execute("COMMIT")
        return time.perf_counter() - started


def report(rows: int, rounds: int, stored: list[float], bare: list[float], commits: list[float]) -> None:
    ours, reference = statistics.median(stored), statistics.median(bare)
    lowest, highest = min(stored) / max(bare), max(stored) / min(bare)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"
    print(f"machine    {machine}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    print(f"method     {rows} rows of 900 characters, medians of {rounds} rounds in turn")
    print(f"store      {ours:8.0f} rows/s  {CALLERS} callers, {statistics.median(commits):.0f} rows a commit")
    print(f"bare loop  {reference:8.0f} rows/s  {ROWS_A_COMMIT} rows a commit")
    print(f"ratio      {ours / reference:8.2f}  (range {lowest:.2f} to {highest:.2f})")


if __name__ == "__main__":
    main()
