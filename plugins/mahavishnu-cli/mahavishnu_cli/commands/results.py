"""``workers results``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.completing import task_ids
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
@click.argument("ids", nargs=-1, shell_complete=task_ids, metavar="[ID]...")
@click.option("--all", "all_tasks", is_flag=True, help="Of all tasks of a worker, not only the latest.")
@json_option("an array of results")
@click.pass_obj
def results(start: Start, ids: tuple[str, ...], all_tasks: bool, as_json: bool) -> int:
    """Print the results of workers, whole.

    ID is that of a worker, or of a task. Of all workers, closed ones too, where none is named.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        state = start.state
        found = await manager.collect_results(ids or None, all_tasks=all_tasks)
        print_results(found, style_of(as_json=as_json))
        tasks = [state.task_named(name) for name in ids or state.passing_ids()]
        running = sum(task is not None and state.result(task) is None for task in tasks)
        if running:
            say(f"{counted(running, 'task')} not ended yet: see 'mahavishnu workers monitor'")
        elif not found:
            say("no results yet")
        return 0

    return start.manage(body)
