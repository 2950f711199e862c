"""The storage ``sqlite``: keeps results and logs in one database in the state directory, and searches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from mahavishnu_core import Engine, Task, Worker, WorkerResult
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import Backlog, LogBatch

HOOK_API = 1


@hookimpl
def store_result(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> Awaitable[None]:
    from mahavishnu_sqlite.store import keep_result

    return keep_result(engine, worker, task, result)


@hookimpl
def store_log(engine: Engine, worker: Worker, batch: LogBatch) -> Awaitable[None]:
    from mahavishnu_sqlite.store import keep_log

    return keep_log(engine, worker, batch)


@hookimpl
def search_results(engine: Engine, text: str, limit: int) -> Awaitable[Sequence[WorkerResult]]:
    from mahavishnu_sqlite.store import search_results

    return search_results(engine, text, limit)


@hookimpl
def backlog(engine: Engine) -> Awaitable[Sequence[Backlog]]:
    from mahavishnu_sqlite.diagnosis import tell_backlog

    return tell_backlog(engine)


@hookimpl
def diagnose(engine: Engine) -> Awaitable[Sequence[Check]]:
    from mahavishnu_sqlite.diagnosis import diagnose_database

    return diagnose_database(engine)
