from __future__ import annotations

import os
import subprocess
import sys

import pytest
import trio

from mahavishnu_core import WorkerStatus
from mahavishnu_core.health import Check
from mahavishnu_sqlite import hooks
from mahavishnu_sqlite.store import FILE_NAME


async def test_a_stored_result_is_found_as_it_was(engine, parts):
    worker, task, result = parts(
        prompt="write a parser",
        status=WorkerStatus.FAILED,
        output="half of it",
        error="exit status 3",
        exit_code=3,
        duration_seconds=1.5,
        metadata={"task_id": "w1.1", "usage": {"input_tokens": 7}, "evidence": {"results": [1, None, "x"]}},
    )
    await hooks.store_result(engine, worker, task, result)
    assert await hooks.search_results(engine, "parser", 10) == [result]


async def test_a_result_stored_twice_is_kept_once_and_the_first_stands(engine, parts):
    await hooks.store_result(engine, *parts(output="first"))
    await hooks.store_result(engine, *parts(output="second"))
    assert [found.output for found in await hooks.search_results(engine, "", 10)] == ["first"]


async def test_results_stored_at_once_share_one_database(engine, parts):
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(hooks.store_result, engine, *parts(f"w1.{number}"))
    assert len(await hooks.search_results(engine, "hello", 100)) == 20
    assert [path.name for path in engine.state_dir.glob("*.sqlite3")] == ["results.sqlite3"]


async def test_a_search_before_any_result_finds_nothing(engine):
    assert await hooks.search_results(engine, "hello", 10) == []


async def test_a_database_that_is_sound_has_a_check_that_says_so_and_no_backlog(engine, parts):
    await hooks.store_result(engine, *parts())
    assert await hooks.diagnose(engine) == [Check("sqlite", "ok", f"{engine.state_dir / FILE_NAME}: sound")]
    assert await hooks.backlog(engine) == []


async def test_there_is_no_backlog_where_there_is_no_database(engine):
    assert await hooks.backlog(engine) == []
    assert list(engine.state_dir.iterdir()) == []


@pytest.mark.parametrize(("over", "told"), [(0, 0), (1, 1)])
async def test_c6_a_log_of_over_256_mib_is_told_with_what_to_do(engine, parts, over, told):
    await hooks.store_result(engine, *parts())
    os.truncate(engine.state_dir / f"{FILE_NAME}-wal", 256 * 2**20 + over)
    backlogs = await hooks.backlog(engine)
    assert [(each.storage, each.count, each.is_failing) for each in backlogs] == [("sqlite", 0, True)] * told
    warned = [(each.detail, each.advice) for each in await hooks.diagnose(engine) if each.grade == "warning"]
    assert warned == [(each.reason, each.advice) for each in backlogs]


def test_loading_the_plugin_loads_neither_sqlite_nor_trio():
    code = "import sys, mahavishnu_sqlite.hooks; print({'sqlite3', 'trio', 'attrs'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
