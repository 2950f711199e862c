from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, closing

import attrs
import pytest
import trio

from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite import hooks
from mahavishnu_sqlite.store import open_store

KEPT = "SELECT worker_id, first, text FROM logs ORDER BY id"


async def test_stored_lines_are_found_whole_with_their_numbers(engine, batch):
    worker, lines = batch("$ make", "", "error: no rule", first=7, created="2026-01-01T00:00:03+00:00")
    await hooks.store_log(engine, worker, lines)
    assert await hooks.search_results(engine, "rule", 10) == [
        WorkerResult(
            "w1",
            WorkerStatus.RUNNING,
            output="$ make\n\nerror: no rule",
            metadata={"worker_type": "debug-monitor", "log": {"first": 7, "last": 9}},
            timestamp="2026-01-01T00:00:03+00:00",
        )
    ]


async def test_lines_are_on_the_disk_when_the_hook_returns(engine, batch, rows):
    await hooks.store_log(engine, *batch("one", "two", first=3))
    assert rows(KEPT) == [("w1", 3, "one\ntwo")]


async def test_a_batch_stored_twice_is_kept_once_and_the_first_stands(engine, batch, rows):
    await hooks.store_log(engine, *batch("first"))
    await hooks.store_log(engine, *batch("second", "third"))
    assert rows(KEPT) == [("w1", 1, "first")]
    assert await hooks.search_results(engine, "second", 10) == []


async def test_batches_of_one_number_from_two_workers_are_two(engine, batch, rows):
    await hooks.store_log(engine, *batch("a"))
    await hooks.store_log(engine, *batch("b", worker_id="w2"))
    await hooks.store_log(engine, *batch("c", first=2))
    assert rows(KEPT) == [("w1", 1, "a"), ("w2", 1, "b"), ("w1", 2, "c")]


async def test_one_batch_from_two_engines_at_once_is_kept_once(engine, batch, rows):
    async with AsyncExitStack() as stack:
        other = attrs.evolve(engine, stack=stack, held={}, opening=trio.Lock())
        async with trio.open_nursery() as nursery:
            for each in [engine, other] * 20:
                nursery.start_soon(hooks.store_log, each, *batch("once"))
        assert engine.held["sqlite"] is not other.held["sqlite"]
    assert rows(KEPT) == [("w1", 1, "once")]


async def test_results_and_lines_at_once_share_transactions(path, record, log, rows):
    async with open_store(path) as store:
        async with trio.open_nursery() as nursery:
            for number in range(1, 51):
                nursery.start_soon(store.keep, record(f"w1.{number}"))
                nursery.start_soon(store.keep, log("line", first=number))
        assert store.commits <= 2
    assert rows("SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM logs)") == [(50, 50)]


async def test_secrets_are_taken_out_before_lines_are_written(engine, batch):
    engine.app.secrets = ("hunter2hunter2", "BEGIN KEY\nqwertyuiop\nEND KEY")
    await hooks.store_log(engine, *batch("login hunter2hunter2", "BEGIN KEY", "qwertyuiop", "END KEY", "bye"))
    (found,) = await hooks.search_results(engine, "login", 10)
    assert found.output == "login [redacted]\n[redacted]\nbye"
    assert await hooks.search_results(engine, "hunter2hunter2", 10) == []
    files = b"".join(file.read_bytes() for file in engine.state_dir.iterdir())
    assert b"[redacted]" in files
    assert b"hunter2" not in files
    assert b"qwertyuiop" not in files


async def test_500_lines_come_back_whole(path, log):
    lines = [f"{number}: " + "x" * 100 for number in range(500)]
    async with open_store(path) as store:
        await store.keep(log(*lines, first=1001))
        (found,) = await store.search("499", 10)
    assert found.output.split("\n") == lines
    assert found.metadata["log"] == {"first": 1001, "last": 1500}


@pytest.mark.parametrize(
    "line", ["", "a\0b", "\0", "\x1b[31mred\x1b[0m\x07", "a\rb", "漢字 🎉", "\u2028\ufeff", "x" * 1_000_000]
)
async def test_lines_of_any_kind_come_back_as_they_were(path, log, line):
    async with open_store(path) as store:
        await store.keep(log("before", line, "after"))
        (found,) = await store.search("after", 1)
    assert found.output == f"before\n{line}\nafter"


async def test_a_lone_surrogate_is_written_out_in_every_field(path, log):
    async with open_store(path) as store:
        await store.keep(log("bad \udcff byte", worker_id="w\udcff", created="\udcff"))
        (found,) = await store.search("byte", 1)
    assert (found.output, found.worker_id, found.timestamp) == ("bad \\udcff byte", "w\\udcff", "\\udcff")


@pytest.mark.parametrize(("lines", "first"), [((), 1), (("a",), 0), (("a",), -1), (("a", "b"), 2**63 - 1)])
async def test_what_is_no_batch_is_refused_before_it_is_written(engine, batch, lines, first):
    with pytest.raises(StorageError, match=rf"lines {first} to .* of worker 'w1' are no batch"):
        await hooks.store_log(engine, *batch(*lines, first=first))


@pytest.mark.thorough
def test_lines_too_long_for_any_row_fail_alone_and_before_they_are_written(log):
    with pytest.raises(StorageError, match=r"the batch of lines 5 to 6 of worker 'w1' has over"):
        log("x" * 100_000_000, "x" * 100_000_000, first=5)


async def test_lines_removed_or_changed_by_hand_are_no_longer_found(path, log, rows):
    async with open_store(path) as store:
        await store.keep(log("alpha"))
        await store.keep(log("beta", first=2))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM logs WHERE first = 1")
        connection.execute("UPDATE logs SET text = 'gamma'")
        connection.execute("INSERT INTO logs_text (logs_text, rank) VALUES ('integrity-check', 1)")
    async with open_store(path) as store:
        assert [await store.search(word, 10) for word in ("alpha", "beta")] == [[], []]
        assert [found.output for found in await store.search("gamma", 10)] == ["gamma"]
