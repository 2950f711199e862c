"""Many callers, one writer: what comes while a transaction is under way goes into the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import StorageError
from mahavishnu_sqlite.database import Database, Record
from mahavishnu_sqlite.logs import log_record_of
from mahavishnu_sqlite.record import record_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine, Task, Worker, WorkerResult
    from mahavishnu_core.models import LogBatch

FILE_NAME = "results.sqlite3"
_PATIENCE_SECONDS = 5.0
_READERS = 4


async def keep_result(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> None:
    """Keep a result in the engine's state directory, once. Raises StorageError."""
    record = record_of(worker, task, result)
    await (await store_of(engine)).keep(record)


async def keep_log(engine: Engine, worker: Worker, batch: LogBatch) -> None:
    """Keep some lines of a worker's log, without secrets, once. Raises StorageError."""
    record = log_record_of(worker, batch, engine.app.secrets)
    await (await store_of(engine)).keep(record)


async def search_results(engine: Engine, text: str, limit: int) -> Sequence[WorkerResult]:
    """Raises StorageError."""
    return await (await store_of(engine)).search(text, limit)


async def store_of(engine: Engine) -> Store:
    """The one store of an engine. Raises StorageError."""
    return await engine.hold("sqlite", lambda: open_store(engine.state_dir / FILE_NAME))


@asynccontextmanager
async def open_store(path: Path, *, patience_seconds: float = _PATIENCE_SECONDS) -> AsyncIterator[Store]:
    """The database at ``path``, made or migrated where need be. Raises StorageError.

    ``patience_seconds`` is how long to wait while another program holds the database.
    """
    database, writer = Database(path, patience_seconds), trio.CapacityLimiter(1)
    await trio.to_thread.run_sync(database.open, limiter=writer)
    try:
        yield Store(database, writer)
    finally:
        with trio.CancelScope(shield=True):  # waits for nothing but the disk
            await trio.to_thread.run_sync(database.close, limiter=writer)


@attrs.define(eq=False)
class _Entry:
    """A record on its way into the database."""

    record: Record
    is_settled: bool = False
    failure: StorageError | None = None


@attrs.define(eq=False)
class Store:
    """Keeps and finds results and lines of logs. ``commits`` counts the transactions that were written."""

    _database: Database
    _writer: trio.CapacityLimiter
    _readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(_READERS))
    _turn: trio.Lock = attrs.field(factory=trio.Lock)
    _pending: list[_Entry] = attrs.field(factory=list)
    commits: int = 0

    async def keep(self, record: Record) -> None:
        """Return when the record is safe on the disk; what is there already stays as it is.

        Raises StorageError. If it is cancelled, the record may be kept or not: keep it again to be sure.
        """
        entry = _Entry(record)
        self._pending.append(entry)
        async with self._turn:
            if not entry.is_settled:
                await self._write_pending()
        if entry.failure is not None:
            raise StorageError(str(entry.failure)) from entry.failure

    async def search(self, text: str, limit: int) -> list[WorkerResult]:
        """At most ``limit`` results, best first (see ``mahavishnu_sqlite.search``). Raises StorageError."""
        return await trio.to_thread.run_sync(
            self._database.find, text, limit, limiter=self._readers, abandon_on_cancel=True
        )

    async def check(self) -> None:
        """Raises StorageError where the database is damaged anywhere."""
        await trio.to_thread.run_sync(self._database.check, limiter=self._readers, abandon_on_cancel=True)

    async def _write_pending(self) -> None:
        """Write all that waits in one transaction; whoever is cancelled meanwhile harms nobody else."""
        batch, self._pending = self._pending, []
        failure: StorageError | None = StorageError("nothing was written: the writer broke off")
        try:
            with trio.CancelScope(shield=True):
                records = [entry.record for entry in batch]
                await trio.to_thread.run_sync(self._database.add, records, limiter=self._writer)
            self.commits += 1
            failure = None
        except StorageError as error:
            failure = error
        finally:
            for entry in batch:
                entry.is_settled, entry.failure = True, failure
