from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

KEEPER = """
import sys
from pathlib import Path

import trio

from mahavishnu_core import Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_sqlite.record import record_of
from mahavishnu_sqlite.store import open_store

name, most = sys.argv[2], int(sys.argv[3])
worker = Worker("w1", WorkerType(name="shell", agent="shell"), Path("/repo"), "")

async def keep(store, numbers):
    for number in numbers:
        task = Task(f"{name}.{number}", "w1", "work", 60, "", False, "", Path("/t"))
        result = WorkerResult("w1", WorkerStatus.COMPLETED, output=f"{number} " * 500)
        await store.keep(record_of(worker, task, result))
        print(task.task_id, flush=True)

async def main():
    async with open_store(Path(sys.argv[1])) as store, trio.open_nursery() as nursery:
        numbers = iter(range(most))
        for _ in range(5):
            nursery.start_soon(keep, store, numbers)

trio.run(main)
"""


def start(path: Path, name: str, most: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", KEEPER, str(path), name, str(most)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def whole_lines(text: str) -> list[str]:
    return text[: text.rfind("\n") + 1].split()


def killed_after(lines: int, path: Path, name: str) -> list[str]:
    """What a storing process said was kept before it was killed with no warning."""
    with start(path, name, 1_000_000) as process:
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        return whole_lines("".join(said) + process.stdout.read())


@pytest.mark.thorough
def test_c7_what_was_acknowledged_survives_kill_9_at_any_moment(path, rows):
    chance = random.Random(20)
    acknowledged: list[str] = []
    for number in range(20):
        acknowledged += killed_after(chance.randrange(1, 60), path, f"round{number}")
    present = {task_id for (task_id,) in rows()}
    assert len(acknowledged) >= 20
    assert present.issuperset(acknowledged)
    assert rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.thorough
def test_processes_that_open_and_write_at_once_lose_nothing(path, rows):
    processes = [start(path, f"process{number}", 40) for number in range(3)]
    said = [line for process in processes for line in whole_lines(process.communicate()[0])]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(said) == 120
    assert sorted(said) == [task_id for (task_id,) in rows()]


def test_the_index_of_words_agrees_with_the_results_after_a_crash(path, rows):
    killed_after(30, path, "round")
    rows("INSERT INTO results_text (results_text, rank) VALUES ('integrity-check', 1)")
    (matches,) = rows("SELECT count(*) FROM results_text WHERE results_text MATCH 'work'")
    assert matches == rows("SELECT count(*) FROM results")[0]
