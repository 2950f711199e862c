"""``workers results``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.show import print_results, style_of
from mahavishnu_cli.streams import say
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager


@click.command(
    "results",
    epilog=example(
        "mahavishnu workers results",
        "mahavishnu workers results k3f9a2b1 --all",
        "mahavishnu workers results --json | jq 'map(select(.status == \"failed\"))'",
    ),
)
@click.argument("worker_ids", nargs=-1, shell_complete=complete_worker_ids, metavar="[ID]...")
@click.option("--all", "all_tasks", is_flag=True, help="Of all tasks of a worker, not only the latest.")
@json_option("an array of results")
@click.pass_obj
def results(start: Start, worker_ids: tuple[str, ...], all_tasks: bool, as_json: bool) -> int:
    """Print the results of workers, whole.

    Of all workers, closed ones too, where none is named.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        found = await manager.collect_results(worker_ids or None, all_tasks=all_tasks)
        print_results(found, style_of(as_json=as_json))
        reports = manager.monitor_workers(worker_ids or start.state.passing_ids())
        running = sum(each.task_id is not None and not each.status.is_final for each in reports)
        if running:
            say(f"{counted(running, 'task')} not ended yet: see 'mahavishnu workers monitor'")
        elif not found:
            say("no results yet")
        return 0

    return start.manage(body)
