"""``workers monitor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.progress import on_terminal, open_progress
from mahavishnu_cli.streams import emit_json, say

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager, WorkerResult


@click.command(
    "monitor",
    epilog=example(
        "mahavishnu workers monitor",
        "mahavishnu workers monitor k3f9a2b1 && echo 'it is done'",
        "mahavishnu workers monitor --json | jq '.workers[] | select(.status == \"running\")'",
    ),
)
@click.argument("worker_ids", nargs=-1, shell_complete=complete_worker_ids, metavar="[ID]...")
@json_option("one snapshot")
@click.pass_obj
def monitor(start: Start, worker_ids: tuple[str, ...], as_json: bool) -> int:
    """Watch workers until nothing runs any more.

    Exit status 0 if all tasks completed: those that were under way, and the latest of each worker that was
    named. Standing workers, as debug monitors are, are watched only where they are named. Ctrl-C ends the
    watching, never a task.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        reports = manager.monitor_workers(worker_ids or start.state.passing_ids())
        await manager.recover()
        if as_json:
            reports = manager.monitor_workers(worker_ids or None)
            emit_json({"workers": [report.to_dict() for report in reports]})
            return 0
        return await _watch(manager, [report.worker_id for report in reports], is_named=bool(worker_ids))

    return start.manage(body)


async def _watch(manager: WorkerManager, ids: list[str], *, is_named: bool) -> int:
    running = [
        report.worker_id
        for report in manager.monitor_workers(ids)
        if report.task_id is not None and not report.status.is_final
    ]
    if not running:
        say("nothing is running")
    results = await _follow(manager, running) if running else []
    if is_named:
        results = await manager.collect_results(ids)
    if on_terminal() and results:
        from mahavishnu_cli.view import print_summary

        print_summary(results)
    return 0 if all(result.is_success() for result in results) else 1


async def _follow(manager: WorkerManager, ids: list[str]) -> list[WorkerResult]:
    results: list[WorkerResult] = []
    progress = open_progress(manager, len(ids), "text", manager.app.secrets)

    def note(result: WorkerResult) -> None:
        results.append(result)
        progress.end(result)

    for worker_id in ids:
        progress.begin(worker_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(progress.run)
        await manager.follow(ids, note)
        nursery.cancel_scope.cancel()
    return results
