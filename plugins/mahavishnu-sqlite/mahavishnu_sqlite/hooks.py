"""The storage ``sqlite``: keeps every result in one database in the state directory, and searches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from mahavishnu_core import Engine, Task, Worker, WorkerResult

HOOK_API = 1


@hookimpl
def store_result(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> Awaitable[None]:
    from mahavishnu_sqlite.store import keep_result

    return keep_result(engine, worker, task, result)


@hookimpl
def search_results(engine: Engine, text: str, limit: int) -> Awaitable[Sequence[WorkerResult]]:
    from mahavishnu_sqlite.store import search_results

    return search_results(engine, text, limit)
