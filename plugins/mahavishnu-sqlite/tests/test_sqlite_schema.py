from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing

import pytest
import trio

from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite.schema import MIGRATIONS, prepare
from mahavishnu_sqlite.store import open_store

NEWEST = len(MIGRATIONS)
NEXT = """
ALTER TABLE results ADD COLUMN note TEXT;

CREATE TRIGGER noted AFTER INSERT ON results BEGIN
    UPDATE results SET note = 'new' WHERE id = new.id;
END;
"""


def upgrade(path, *scripts):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        prepare(connection, path, (*MIGRATIONS, *scripts))


def made_by_version_1(path, output="hello"):
    """A database as the first version of this plugin left it, with one result."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        prepare(connection, path, MIGRATIONS[:1])
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "INSERT INTO results (task_id, worker_id, worker_type, agent, place, workspace, session_id,"
            " status, prompt, output, duration_seconds, created, timestamp, metadata)"
            " VALUES ('old.1', 'old', 'shell', 'shell', 'local', '/repo', '', 'completed', 'say', ?, 1,"
            " '2026-01-01', '2026-01-01', '{\"task_id\": \"old.1\"}')",
            [output],
        )


async def keep(path, *records):
    async with open_store(path) as store:
        for record in records:
            await store.keep(record)


async def test_a_new_database_needs_no_backup(path, record):
    await keep(path, record())
    assert [file.name for file in path.parent.iterdir()] == ["results.sqlite3"]


async def test_an_older_database_is_brought_up_to_date_after_a_backup(path, record, rows):
    await keep(path, record())
    upgrade(path, NEXT)
    assert rows("SELECT task_id, note FROM results") == [("w1.1", None)]
    assert rows("PRAGMA user_version") == [(NEWEST + 1,)]
    backup = path.with_name(f"results.sqlite3.backup-v{NEWEST}")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    async with open_store(backup) as store:
        assert len(await store.search("hello", 10)) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, backup.name]


async def test_c4_a_database_of_version_1_gets_its_logs_and_keeps_its_results(path, record, log, rows):
    made_by_version_1(path)
    async with open_store(path) as store:
        for each in (record("w1.1"), log("hello", first=3)):
            await store.keep(each)
        found = await store.search("hello", 10)
    assert [each.metadata.get("task_id") for each in found] == ["w1.1", "old.1", None]
    assert found[2].metadata["log"] == {"first": 3, "last": 3}
    assert rows("PRAGMA user_version") == [(NEWEST,)]
    with closing(sqlite3.connect(path.with_name("results.sqlite3.backup-v1"))) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT task_id FROM results").fetchall() == [("old.1",)]


async def test_c4_a_damaged_database_of_version_1_stays_at_that_version(path, record, damage_a_page):
    made_by_version_1(path, output="x" * 600_000)
    damage_a_page()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="it is damaged"):
        await keep(path, record())
    assert path.read_bytes() == before


async def test_engines_that_find_a_database_of_version_1_at_once_all_keep_their_lines(path, log, rows):
    made_by_version_1(path)
    async with trio.open_nursery() as nursery:
        for number in range(1, 9):
            nursery.start_soon(keep, path, log("line", first=number))
    assert rows("SELECT count(*) FROM logs") == [(8,)]
    assert rows() == [("old.1",)]


async def test_c4_a_migration_that_fails_changes_nothing(path, record, rows):
    await keep(path, record())
    with pytest.raises(sqlite3.OperationalError):
        upgrade(path, NEXT, "CREATE TABLE more (a);\nSELECT nonsense;\n")
    assert rows("PRAGMA user_version") == [(NEWEST,)]
    await keep(path, record("w1.2"))
    assert rows() == [("w1.1",), ("w1.2",)]


async def test_engines_that_migrate_at_once_migrate_once(path, record, rows):
    await keep(path, record())
    ready = threading.Barrier(4)

    def migrate():
        ready.wait()
        upgrade(path, NEXT)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows("PRAGMA user_version") == [(NEWEST + 1,)]
    with closing(sqlite3.connect(path.with_name(f"results.sqlite3.backup-v{NEWEST}"))) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (NEWEST,)


async def test_a_database_from_the_future_is_refused_and_left_alone(path, record):
    await keep(path, record())
    upgrade(path, NEXT)
    before = path.read_bytes()
    with pytest.raises(
        StorageError, match=rf"schema {NEWEST + 1}, this one knows {NEWEST}.*upgrade mahavishnu-sqlite"
    ):
        await keep(path, record("w1.2"))
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_left_alone(path, record):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE results (mine)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"another program.*move it away"):
        await keep(path, record())
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path, record):
    path.write_bytes(b"this is my diary, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"opened \(file is not a database\): move it away"):
        await keep(path, record())
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_a_database(path, record, rows):
    path.touch()
    await keep(path, record())
    assert rows() == [("w1.1",)]


@pytest.mark.parametrize("there", [True, False])
async def test_a_link_in_its_place_is_not_followed(path, record, there):
    victim = path.with_name("victim")
    if there:
        victim.touch()
    path.symlink_to(victim)
    with pytest.raises(StorageError, match=r"it is a link, and none is followed.*: move it away"):
        await keep(path, record())
    assert victim.read_bytes() == b"" if there else not victim.exists()


async def test_a_message_is_one_line(path, record):
    path.mkdir()
    with pytest.raises(StorageError) as caught:
        await keep(path, record())
    assert "\n" not in str(caught.value)


async def test_a_result_removed_by_hand_is_no_longer_found(path, record):
    await keep(path, record("w1.1"), record("w1.2", output="other"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM results WHERE task_id = 'w1.1'")
        connection.execute("UPDATE results SET output = 'changed'")
    async with open_store(path) as store:
        assert [await store.search(word, 10) for word in ("hello2", "other")] == [[], []]
        assert [found.output for found in await store.search("changed", 10)] == ["changed"]
        assert len(await store.search("hello", 10)) == 1  # by its prompt
