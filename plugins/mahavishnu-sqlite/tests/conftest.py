"""What the tests of the SQLite storage share: made-up results and logs, and an engine that holds things."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import attrs
import pytest
import trio

from mahavishnu_core import Task, Worker, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.models import LogBatch
from mahavishnu_sqlite.logs import LogRecord, log_record_of
from mahavishnu_sqlite.record import ResultRecord, record_of


@attrs.define
class FakeApp:
    secrets: tuple[str, ...] = ()


@attrs.define
class FakeEngine:
    state_dir: Path
    stack: AsyncExitStack
    app: FakeApp = attrs.field(factory=FakeApp)
    held: dict[str, object] = attrs.field(factory=dict)
    opening: trio.Lock = attrs.field(factory=trio.Lock)

    async def hold(self, key, opener):
        async with self.opening:
            if key not in self.held:
                self.held[key] = await self.stack.enter_async_context(opener())
        return self.held[key]


@pytest.fixture
async def engine(tmp_path):
    async with AsyncExitStack() as stack:
        yield FakeEngine(tmp_path, stack)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "results.sqlite3"


Parts = tuple[Worker, Task, WorkerResult]


@pytest.fixture
def parts() -> Callable[..., Parts]:
    """Makes a worker, its task and the result; keywords go into the result, ``prompt`` into the task."""

    def make(task_id: str = "w1.1", *, prompt: str = "say hello", **fields: object) -> Parts:
        kind = WorkerType(name="terminal-claude", agent="claude")
        worker = Worker("w1", kind, Path("/repo"), "2026-01-01T00:00:00.000000+00:00")
        task = Task(task_id, "w1", prompt, 60, "s1", False, "2026-01-01T00:00:01.000000+00:00", Path("/t"))
        given = {
            "status": WorkerStatus.COMPLETED,
            "output": "hello",
            "metadata": {"task_id": task_id},
            "timestamp": "2026-01-01T00:00:02.000000+00:00",
        }
        return worker, task, WorkerResult("w1", **(given | fields))

    return make


@pytest.fixture
def record(parts) -> Callable[..., ResultRecord]:
    return lambda *args, **fields: record_of(*parts(*args, **fields))


@pytest.fixture
def batch() -> Callable[..., tuple[Worker, LogBatch]]:
    """Makes a worker and some lines of its log, counted from ``first``."""

    def make(
        *lines: str, first: int = 1, worker_id: str = "w1", created: str = "2026-01-01"
    ) -> tuple[Worker, LogBatch]:
        kind = WorkerType(name="debug-monitor", agent="generic")
        return Worker(worker_id, kind, Path("/repo"), "2026-01-01"), LogBatch(first, lines, created)

    return make


@pytest.fixture
def log(batch) -> Callable[..., LogRecord]:
    return lambda *lines, **fields: log_record_of(*batch(*lines, **fields), secrets=())


@pytest.fixture
def damage_a_page(path) -> Callable[[], None]:
    """Writes over one page in the middle of the database."""

    def damage() -> None:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2 // 4096 * 4096)
            file.write(b"\xa5" * 4096)

    return damage


@pytest.fixture
def rows(path) -> Callable[..., list[tuple]]:
    """Asks the database with a connection of its own."""

    def ask(sql: str = "SELECT task_id FROM results ORDER BY task_id", *values: object) -> list[tuple]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(sql, values).fetchall()

    return ask
