"""One SQLite file of results and logs: opens, writes, searches it. Calls block and fail with StorageError."""

from __future__ import annotations

import errno
import sqlite3  # noqa: TID253  # this module is itself imported only when a store is opened
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs

from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite.logs import LogRecord
from mahavishnu_sqlite.record import ResultRecord
from mahavishnu_sqlite.schema import prepare
from mahavishnu_sqlite.search import find

if TYPE_CHECKING:
    from mahavishnu_core.models import WorkerResult

Record: TypeAlias = ResultRecord | LogRecord
SMALL = 32 * 2**20
"""Bytes up to which opening looks at each page (docs/decisions/0027-damaged-databases.md)."""
_LOG_KEPT = 4 * 2**20
"""Bytes to which the write-ahead log is cut when what let it grow has ended: as many as it has otherwise."""
_WAL_ATTEMPTS = 10
_creating = threading.Lock()


@attrs.define(eq=False)
class Database:
    """Used by one thread at a time, except for ``find``, which any thread may call at any time."""

    path: Path
    patience_seconds: float
    """How long to wait for another program's lock."""
    _connection: sqlite3.Connection | None = None

    def open(self) -> None:
        with self._as_storage_error("opened"):
            self._connection = self._connect()

    def add(self, records: Sequence[Record]) -> None:
        """Keep all of the records or, with an error, none. Of two for one thing the first stands."""
        with self._as_storage_error("written"):
            if self._connection is None:
                self._connection = self._connect(after_a_fault=True)
            connection = self._connection
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for record in records:
                        connection.execute(_INSERTS[type(record)], attrs.astuple(record, recurse=False))
            except sqlite3.Error as error:
                if _code(error) != sqlite3.SQLITE_BUSY:
                    self.close()  # what SQLite remembers of the file may be wrong: the next call starts anew
                raise

    def find(self, text: str, limit: int) -> list[WorkerResult]:
        with self._as_storage_error("read"), closing(self._plain_connection()) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.row_factory = sqlite3.Row
            return find(connection, text, limit)

    def check(self) -> None:
        """Look at every page, however long that takes."""
        with self._as_storage_error("read"), closing(self._plain_connection()) as connection:
            _check(connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, *, after_a_fault: bool = False) -> sqlite3.Connection:
        _create(self.path)
        connection = self._plain_connection()
        try:
            if after_a_fault or _size(connection) <= SMALL:
                _check(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT}")
            prepare(connection, self.path)
            _use_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _plain_connection(self) -> sqlite3.Connection:
        if self.path.is_symlink():  # whoever planted it would choose what we write over
            raise OSError(errno.ELOOP, "it is a link, and none is followed")
        return sqlite3.connect(
            self.path, timeout=self.patience_seconds, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def _as_storage_error(self, what: str) -> Iterator[None]:
        """Turn the errors of SQLite and of the file system into one line that says what to do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise StorageError(
                f"the results database {str(self.path)!r} cannot be {what} ({cause}): {_advice(error)}"
            ) from error


def _insert_into(table: str, kind: type[Record]) -> str:
    """A row that is there already, by what is unique in its table, stays as it is."""
    names = [field.name for field in attrs.fields(kind)]
    columns, values = ", ".join(names), ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608  # our own names


_INSERTS: dict[type[Record], str] = {
    ResultRecord: _insert_into("results", ResultRecord),
    LogRecord: _insert_into("logs", LogRecord),
}


def _create(path: Path) -> None:
    """Make the file, readable for nobody else from its first instant; SQLite gives -wal and -shm its mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Closing a descriptor of a file drops all locks that its process holds on it, those of SQLite too: so an
    # existing file is never opened here, and no thread uses a new one before its descriptor is closed.
    with _creating, suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers and the writer do not wait for each other with a write-ahead log."""
    for _ in range(_WAL_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            # the switch does not wait while another engine writes, the beginning of a transaction does
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        else:
            return
    raise sqlite3.OperationalError("database is locked")


def _code(error: BaseException) -> int:
    """The primary result code of SQLite, 0 for an error that is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class _Damaged(sqlite3.DatabaseError):
    """What SQLite found when it was asked to look, as if it had come across it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _size(connection: sqlite3.Connection) -> int:
    """In bytes, with what is still in the write-ahead log."""
    pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    return int(connection.execute(pages).fetchone()[0])


# table by table, since a later SQLite takes ten times as long for all: it reads the indexes of words as such
_DAMAGE = """
SELECT quick_check FROM pragma_table_list AS known, pragma_quick_check(known.name)
WHERE known.schema = 'main' AND known.type IN ('table', 'shadow') AND quick_check <> 'ok' LIMIT 1
"""


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute(_DAMAGE).fetchone()
    if found is not None:
        raise _Damaged(f"it is damaged: {found[0].splitlines()[-1]}")  # a heading comes before it


def _advice(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.ELOOP:
            return _AWAY
        return "see to the permissions and the space of its directory, then run 'mahavishnu results sync'"
    return _ADVICE.get(_code(error), "try again once the cause is gone")


_SYNC = "then run 'mahavishnu results sync'"
_AWAY = (
    f"move it away, delete workers/*/tasks/*/stored/sqlite beside it, {_SYNC}, which makes a new one; "
    "it was left as it is"
)
_ADVICE = {
    sqlite3.SQLITE_BUSY: f"end the program that holds it, {_SYNC}",
    sqlite3.SQLITE_FULL: f"make room on its disk, {_SYNC}",
    sqlite3.SQLITE_IOERR: f"see to its disk and the room there, {_SYNC}",
    sqlite3.SQLITE_READONLY: f"make it writable, {_SYNC}",
    sqlite3.SQLITE_CANTOPEN: f"make its directory writable, {_SYNC}",
    sqlite3.SQLITE_NOTADB: _AWAY,
    sqlite3.SQLITE_CORRUPT: _AWAY,
}
