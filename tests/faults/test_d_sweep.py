"""Section D of the fault matrix: kills at steps that a number of a system call alone does not find."""

from __future__ import annotations

from pathlib import Path

import pytest

from .sweep import (
    BIRTHS,
    MAKINGS,
    OPENINGS,
    REMOVALS,
    SENDINGS,
    is_as_if_nothing_was,
    killed_at,
    sweep,
    taken_up,
    with_engine_killed,
    with_engine_killed_making,
    with_keeper_killed_making,
)

OF_THE_DATABASE = [
    *((OPENINGS, file) for file in ("", "-journal", "-wal", "-shm")),
    *((REMOVALS, file) for file in ("-journal", "-wal", "-shm")),
]


@pytest.mark.parametrize(("calls", "file"), OF_THE_DATABASE)
def test_d2_an_engine_killed_as_it_opens_or_removes_a_file_of_the_database_has_its_task_taken_up(
    tmp_path: Path, calls: str, file: str
) -> None:
    name = f"results.sqlite3{file}"
    for kill in sweep(tmp_path, calls, lambda *where: with_engine_killed(*where, file=name)):
        for result in taken_up(kill):
            assert is_as_if_nothing_was(result), kill


@pytest.mark.parametrize("calls", [BIRTHS, SENDINGS])
def test_d2_an_engine_killed_as_it_starts_or_tells_somebody_has_its_task_taken_up(
    tmp_path: Path, calls: str
) -> None:
    for kill in sweep(tmp_path, calls, with_engine_killed):
        for result in taken_up(kill):
            assert is_as_if_nothing_was(result), kill


MADE_BY_ENGINE = {
    "workers",
    "open",
    "workers/ID",
    "workers/ID/claim.json",
    "workers/ID/tasks",
    "workers/ID/worker.json~",
    "open/ID.1",
    "workers/ID/tasks/~",
    "workers/ID/tasks/~/stored",
    "workers/ID/tasks/~/task.json",
    "workers/ID/tasks/ID.1/stdin",
    "workers/ID/tasks/ID.1/result.json~",
    "workers/ID/tasks/ID.1/stored/sqlite",
    "results.sqlite3",
}


def test_d2_an_engine_killed_at_any_file_or_directory_it_makes_has_its_task_taken_up(tmp_path: Path) -> None:
    seen = set()
    for kill in sweep(tmp_path, MAKINGS, with_engine_killed_making):
        seen.add(killed_at(kill.site))
        for result in taken_up(kill):
            assert is_as_if_nothing_was(result), (kill, killed_at(kill.site))
    assert seen == {*MADE_BY_ENGINE, None}


MADE_BY_KEEPER = {f"workers/ID/tasks/ID.1/{name}.json~" for name in ("launch", "exit")}
"""And the task's control group, where there are any."""


def test_d2_a_keeper_killed_at_any_file_or_directory_it_makes_costs_no_verdict(tmp_path: Path) -> None:
    seen = set()
    for kill in sweep(tmp_path, MAKINGS, with_keeper_killed_making):
        seen.add(killed_at(kill.site))
        assert kill.ran.status == 0, f"{kill}: {kill.ran.err}"
        [result] = taken_up(kill)
        assert is_as_if_nothing_was(result), (kill, killed_at(kill.site))
    assert seen >= {*MADE_BY_KEEPER, None}
