"""The storage ``session-buddy``: every result goes to the user's Session-Buddy, by way of an outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mahavishnu_core import Engine, Task, Worker, WorkerResult
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import Backlog, LogBatch, Synced

HOOK_API = 1


@hookimpl
def store_result(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> Awaitable[None] | None:
    if not engine.app.loaded.settings.session_buddy_integration:
        return None
    from mahavishnu_session_buddy.dispatch import post

    return post(engine, worker, task, result)


@hookimpl
def store_log(engine: Engine, worker: Worker, batch: LogBatch) -> Awaitable[None] | None:
    if not engine.app.loaded.settings.session_buddy_integration:
        return None
    from mahavishnu_session_buddy.dispatch import post_log

    return post_log(engine, worker, batch)


@hookimpl
def backlog(engine: Engine) -> Awaitable[Sequence[Backlog]] | None:
    if not engine.app.loaded.settings.session_buddy_integration:
        return None
    from mahavishnu_session_buddy.backlog import tell_backlog

    return tell_backlog(engine)


@hookimpl
def sync_results(
    engine: Engine, verify: bool, told: Callable[[int, int], None]
) -> Awaitable[Sequence[Synced]] | None:
    if not engine.app.loaded.settings.session_buddy_integration:
        return None
    from mahavishnu_session_buddy.delivery import sync

    return sync(engine, verify=verify, told=told)


@hookimpl
def diagnose(engine: Engine) -> Awaitable[Sequence[Check]]:
    from mahavishnu_session_buddy.diagnosis import diagnose_server

    return diagnose_server(engine)
