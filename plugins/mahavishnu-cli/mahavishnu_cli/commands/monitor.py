"""``workers monitor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.completing import task_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.progress import on_terminal, open_progress
from mahavishnu_cli.streams import complain, emit_json, say
from mahavishnu_core.errors import PluginError

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import Task, WorkerManager
    from mahavishnu_core.state import StateDir


@click.command(
    "monitor",
    epilog=example(
        "mahavishnu workers monitor",
        "mahavishnu workers monitor k3f9a2b1 && echo 'it is done'",
        "mahavishnu workers monitor --json | jq '.workers[] | select(.status == \"running\")'",
    ),
)
@click.argument("ids", nargs=-1, shell_complete=task_ids, metavar="[ID]...")
@json_option("one snapshot")
@click.pass_obj
def monitor(start: Start, ids: tuple[str, ...], as_json: bool) -> int:
    """Watch workers until nothing runs any more.

    ID is that of a worker, which stands for its latest task, or of a task. Exit status 0 if all completed
    that were named, or else that were not known to have ended before. Standing workers, as debug monitors
    are, are watched only where they are named. Ctrl-C ends the watching, never a task.

    With --json nothing is waited for: the exit status is 1 if one of them has ended and did not complete.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        tasks = _tasks(start.state, ids)
        await manager.recover()
        if as_json:
            workers = dict.fromkeys(name.partition(".")[0] for name in ids) or None
            emit_json({"workers": [report.to_dict() for report in manager.monitor_workers(workers)]})
        elif tasks:
            await _watch(manager, tasks)
        else:
            say("nothing is running")
        results = map(start.state.result, tasks)
        is_told = as_json  # of what still runs nothing is known yet: without --json it should have ended
        return 0 if all(is_told if result is None else result.is_success() for result in results) else 1

    return start.manage(body)


def _tasks(state: StateDir, ids: tuple[str, ...]) -> list[Task]:
    """The tasks that are named; without names those whose end is not known yet."""
    found = [task for name in ids or state.passing_ids() if (task := state.task_named(name)) is not None]
    wanted = {task.task_id: task for task in found if ids or state.result(task) is None}
    return list(wanted.values())


async def _watch(manager: WorkerManager, tasks: list[Task]) -> None:
    """Show tasks until all have ended; those that cannot be read are told of."""
    state = manager.app.state
    progress = open_progress(manager, len(tasks), "text", manager.app.secrets)

    async def see_through(task: Task) -> None:
        try:
            progress.end(await manager.wait_for_task(task.task_id))
        except PluginError as error:
            complain(f"{task.task_id}: {error}")

    for task in tasks:
        if state.result(task) is None:
            progress.begin(task.worker_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(progress.run)
        async with trio.open_nursery() as watching:
            for task in tasks:
                watching.start_soon(see_through, task)
        nursery.cancel_scope.cancel()
    results = [result for task in tasks if (result := state.result(task)) is not None]
    if on_terminal() and results:
        from mahavishnu_cli.view import print_summary

        print_summary(results)
