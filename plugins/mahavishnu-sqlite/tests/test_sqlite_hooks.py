from __future__ import annotations

import subprocess
import sys

import trio

from mahavishnu_core import WorkerStatus
from mahavishnu_sqlite import hooks


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


def test_loading_the_plugin_loads_neither_sqlite_nor_trio():
    code = "import sys, mahavishnu_sqlite.hooks; print({'sqlite3', 'trio', 'attrs'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
