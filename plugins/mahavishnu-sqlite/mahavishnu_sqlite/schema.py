"""The tables, and how a database gets to the present version of them."""

from __future__ import annotations

import sqlite3  # noqa: TID253  # this module is itself imported only when a store is opened
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from mahavishnu_core.errors import StorageError

APPLICATION_ID = 0x4D616876  # "Mahv"
"""Written into each of our databases, so that no other is taken for one."""

_VERSION_1 = """
CREATE TABLE results (
    id INTEGER PRIMARY KEY,  -- the index of words refers to it; a hidden rowid would change with VACUUM
    task_id TEXT NOT NULL UNIQUE,
    worker_id TEXT NOT NULL,
    worker_type TEXT NOT NULL,
    agent TEXT NOT NULL,
    place TEXT NOT NULL,
    workspace TEXT NOT NULL,
    session_id TEXT NOT NULL,
    model TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    prompt TEXT NOT NULL,
    output TEXT,
    error TEXT,
    exit_code INTEGER,
    duration_seconds REAL NOT NULL,
    cost_usd REAL,
    cost_origin TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    created TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    metadata TEXT NOT NULL
) STRICT;

CREATE VIRTUAL TABLE results_text USING fts5 (
    prompt, output, error, content = 'results', content_rowid = 'id'
);

CREATE TRIGGER results_added AFTER INSERT ON results BEGIN
    INSERT INTO results_text (rowid, prompt, output, error)
    VALUES (new.id, new.prompt, new.output, new.error);
END;

CREATE TRIGGER results_removed AFTER DELETE ON results BEGIN
    INSERT INTO results_text (results_text, rowid, prompt, output, error)
    VALUES ('delete', old.id, old.prompt, old.output, old.error);
END;

CREATE TRIGGER results_changed AFTER UPDATE ON results BEGIN
    INSERT INTO results_text (results_text, rowid, prompt, output, error)
    VALUES ('delete', old.id, old.prompt, old.output, old.error);
    INSERT INTO results_text (rowid, prompt, output, error)
    VALUES (new.id, new.prompt, new.output, new.error);
END;
"""

_VERSION_2 = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    worker_id TEXT NOT NULL,
    worker_type TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    created TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (worker_id, first)
) STRICT;

CREATE VIRTUAL TABLE logs_text USING fts5 (text, content = 'logs', content_rowid = 'id');

CREATE TRIGGER logs_added AFTER INSERT ON logs BEGIN
    INSERT INTO logs_text (rowid, text) VALUES (new.id, new.text);
END;

CREATE TRIGGER logs_removed AFTER DELETE ON logs BEGIN
    INSERT INTO logs_text (logs_text, rowid, text) VALUES ('delete', old.id, old.text);
END;

CREATE TRIGGER logs_changed AFTER UPDATE ON logs BEGIN
    INSERT INTO logs_text (logs_text, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO logs_text (rowid, text) VALUES (new.id, new.text);
END;
"""

MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)
"""Each script leads from the version before it; a database's version is how many of them it has had."""


def prepare(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Make an empty database ours, and bring an older one up to date, after a copy of it was made.

    Raises StorageError for a database that is another program's or of a later version: it is not touched.
    """
    if _version(connection, path, len(migrations)) == len(migrations):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection, path, len(migrations))  # another engine may have been faster
        if 0 < version < len(migrations):
            _back_up(path, version)
        for script in migrations[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    # one statement, so that it cannot see a half of what another engine commits meanwhile
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID or version < 1:
        raise StorageError(
            f"{str(path)!r} is a database of another program and was left as it is: move it away, and a new "
            "one is made"
        )
    if version > newest:
        raise StorageError(
            f"{str(path)!r} was written by a later mahavishnu-sqlite (schema {version}, this one knows "
            f"{newest}) and was left as it is: upgrade mahavishnu-sqlite"
        )
    return int(version)


def _back_up(path: Path, version: int) -> None:
    """Copy the database while the write lock is held; what reads it here is a connection of its own."""
    backup = path.with_name(f"{path.name}.backup-v{version}")
    draft = backup.with_name(f"{backup.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as target:
        source.backup(target)
    draft.replace(backup)


def _statements(script: str) -> Iterator[str]:
    """Cut a script where statements end; ``executescript`` would commit what is under way."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
