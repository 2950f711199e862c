from __future__ import annotations

import resource
import sqlite3
import stat
from contextlib import closing, contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite.store import open_store


def commits_in_log(path) -> int:
    """How many transactions the write-ahead log holds: in its frames' headers, the last frame of each."""
    log = path.with_name(path.name + "-wal").read_bytes()
    page_size = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page_size)
    return sum(log[start + 4 : start + 8] != bytes(4) for start in frames)


@contextmanager
def held_by_another(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


@contextmanager
def files_no_longer_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_is_kept_is_on_the_disk_when_keep_returns(path, record, rows):
    async with open_store(path) as store:
        await store.keep(record())
        assert rows() == [("w1.1",)]


async def test_100_at_once_are_written_in_one_or_two_transactions(path, record, rows):
    async with open_store(path) as store:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(store.keep, record(f"w1.{number}"))
        assert commits_in_log(path) == store.commits <= 2
    assert len(rows()) == 100


async def test_two_stores_on_one_file_lose_nothing(path, record, rows):
    async with open_store(path) as one, open_store(path) as two, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one.keep, record(f"one.{number:02}"))
            nursery.start_soon(two.keep, record(f"two.{number:02}"))
    assert len(rows()) == 200


async def test_one_task_kept_by_two_stores_at_once_is_kept_once(path, record, rows):
    async with open_store(path) as one, open_store(path) as two, trio.open_nursery() as nursery:
        for store in [one, two] * 20:
            nursery.start_soon(store.keep, record())
    assert rows() == [("w1.1",)]


async def test_a_new_database_can_be_opened_by_many_at_once(path, record, rows):
    async def keep(number):
        async with open_store(path) as store:
            await store.keep(record(f"w1.{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(keep, number)
    assert len(rows()) == 8
    assert rows("PRAGMA journal_mode") == [("wal",)]


async def test_a_lock_of_another_program_is_waited_out(path, record, rows):
    async with open_store(path) as patient, open_store(path, patience_seconds=0) as impatient:
        with held_by_another(path) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(patient.keep, record())
                await wait_all_tasks_blocked()
                with pytest.raises(StorageError):
                    await impatient.keep(record())
                other.execute("ROLLBACK")
    assert rows() == [("w1.1",)]


async def test_c3_a_lock_that_stays_fails_every_caller_and_the_next_try_succeeds(path, record, rows):
    failures = []

    async def keep(number):
        try:
            await store.keep(record(f"w1.{number}"))
        except StorageError as error:
            failures.append(str(error))

    async with open_store(path, patience_seconds=0) as store:
        with held_by_another(path):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(keep, number)
        assert len(failures) == 3
        assert set(failures) == {
            f"the results database {str(path)!r} cannot be written (database is locked): "
            "end the program that holds it, then run 'mahavishnu results sync'"
        }
        assert rows() == []
        await store.keep(record())
    assert rows() == [("w1.1",)]


async def test_c6_a_search_does_not_wait_for_a_writer(path, record):
    async with open_store(path, patience_seconds=0) as store:
        await store.keep(record())
        with held_by_another(path):
            assert len(await store.search("hello", 1)) == 1


async def test_c1_a_full_disk_fails_the_batch_whole_and_is_recovered_from(path, record, rows):
    async with open_store(path) as store:
        await store.keep(record("w1.1"))
        with files_no_longer_than(200_000), pytest.raises(StorageError, match="cannot be written"):
            await store.keep(record("w1.2", output="x" * 1_000_000))
        assert rows() == [("w1.1",)]
        await store.keep(record("w1.2", output="x" * 1_000_000))
    assert rows() == [("w1.1",), ("w1.2",)]
    assert rows("PRAGMA integrity_check") == [("ok",)]


async def test_a_full_disk_fails_lines_of_a_log_too_and_what_is_written_with_them(path, record, log, rows):
    failures = []

    async def keep(each):
        try:
            await store.keep(each)
        except StorageError as error:
            failures.append(str(error))

    both = [record("w1.2"), log("x" * 1_000_000)]
    async with open_store(path) as store:
        await store.keep(log("early", first=9))
        with files_no_longer_than(200_000), held_by_another(path) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep, record("w1.1"))
                await wait_all_tasks_blocked()
                for each in both:  # come while that waits, and so go into one transaction
                    nursery.start_soon(keep, each)
                await wait_all_tasks_blocked()
                other.execute("ROLLBACK")
        assert len(failures) == 2
        assert all("cannot be written" in failure for failure in failures)
        assert rows() == [("w1.1",)]
        for each in both:
            await store.keep(each)
    assert rows() == [("w1.1",), ("w1.2",)]
    assert rows("SELECT first, last, length(text) FROM logs") == [(9, 9, 5), (1, 1, 1_000_000)]
    assert rows("PRAGMA integrity_check") == [("ok",)]


async def test_c2_a_database_found_damaged_after_a_fault_is_not_written(path, record):
    async with open_store(path) as store:
        for number in range(300):
            await store.keep(record(f"w1.{number}", output="words " * 500))
        with files_no_longer_than(1000), pytest.raises(StorageError):
            await store.keep(record("w2.1"))
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\xff" * 100_000)
        with pytest.raises(StorageError, match=r"damaged|malformed"):
            await store.keep(record("w2.1"))


@pytest.fixture
async def damaged(path, record, damage_a_page):
    """A database with a damaged page, which writing does not come across, and its bytes."""
    async with open_store(path) as store:
        for number in range(3):
            await store.keep(record(f"w1.{number}", output="x" * 200_000))
    damage_a_page()
    return path.read_bytes()


async def test_c4_a_damaged_page_is_found_on_opening_and_nothing_is_written(path, damaged):
    with pytest.raises(StorageError, match=r"cannot be opened \(it is damaged: .*\): move it away") as caught:
        async with open_store(path):
            pass
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == damaged


async def test_c4_opening_does_not_look_at_each_page_of_a_big_database_and_a_check_does(
    path, record, damaged, monkeypatch
):
    monkeypatch.setattr("mahavishnu_sqlite.database.SMALL", len(damaged) - 1)
    async with open_store(path) as store:
        await store.keep(record("w2.1"))
        with pytest.raises(StorageError, match=r"cannot be read \(it is damaged: .*\): move it away"):
            await store.check()


async def test_c6_the_log_is_short_again_once_a_reader_that_let_it_grow_has_ended(path, record):
    log = path.with_name(f"{path.name}-wal")
    async with open_store(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM results").fetchone()
            await store.keep(record("w1.1", output="x" * 8_000_000))
            assert log.stat().st_size > 8_000_000
        for number in range(2, 5):
            await store.keep(record(f"w1.{number}"))
        assert log.stat().st_size <= 4 * 2**20


async def test_a_caller_cancelled_while_it_writes_harms_no_other(path, record, rows):
    cancelled = trio.CancelScope()

    async def keep_cancelled():
        with cancelled:
            await store.keep(record("w1.0"))

    async with open_store(path) as store:
        with held_by_another(path) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_cancelled)
                await wait_all_tasks_blocked()  # it is in the thread now, waiting for the lock
                nursery.start_soon(store.keep, record("w1.1"))
                nursery.start_soon(store.keep, record("w1.2"))
                await wait_all_tasks_blocked()
                cancelled.cancel()
                other.execute("ROLLBACK")
    assert rows() == [("w1.0",), ("w1.1",), ("w1.2",)]


async def test_a_caller_cancelled_as_its_turn_comes_harms_no_other(path, record, rows):
    cancelled = trio.CancelScope()

    async def keep_then_cancel():
        await store.keep(record("w1.0"))
        cancelled.cancel()  # the turn has gone to the next in this very moment

    async def keep_cancelled():
        with cancelled:
            await store.keep(record("w1.1"))

    async with open_store(path) as store:
        with held_by_another(path) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_then_cancel)
                await wait_all_tasks_blocked()
                nursery.start_soon(keep_cancelled)
                await wait_all_tasks_blocked()
                nursery.start_soon(store.keep, record("w1.2"))
                await wait_all_tasks_blocked()
                other.execute("ROLLBACK")
    assert rows("SELECT 1 FROM results WHERE task_id = 'w1.2'") == [(1,)]


async def test_callers_cancelled_while_they_wait_harm_no_other(path, record, rows):
    scopes = [trio.CancelScope() for _ in range(10)]

    async def keep_cancelled(number):
        with scopes[number]:
            await store.keep(record(f"gone.{number}"))

    async with open_store(path) as store:
        with held_by_another(path) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.keep, record("w1.1"))
                await wait_all_tasks_blocked()
                for number in range(10):
                    nursery.start_soon(keep_cancelled, number)
                    nursery.start_soon(store.keep, record(f"w2.{number}"))
                await wait_all_tasks_blocked()
                for scope in scopes:
                    scope.cancel()
                other.execute("ROLLBACK")
    assert all(scope.cancelled_caught for scope in scopes)
    assert len(rows("SELECT 1 FROM results WHERE task_id NOT LIKE 'gone%'")) == 11


async def test_only_the_owner_can_read_any_of_the_files(tmp_path, record):
    path = tmp_path / "state" / "results.sqlite3"
    async with open_store(path) as store:
        await store.keep(record())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {f"results.sqlite3{end}": 0o600 for end in ("", "-wal", "-shm")}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_state_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/results.sqlite3' cannot be opened"):
        async with open_store(tmp_path / "file" / "results.sqlite3"):
            pass
