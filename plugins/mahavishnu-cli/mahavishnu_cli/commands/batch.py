"""``workers batch``: the tasks of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.batch_file import Known, read_items, read_source
from mahavishnu_cli.batch_journal import open_journal
from mahavishnu_cli.batch_run import BatchRun, Plan, plan
from mahavishnu_cli.border import worst
from mahavishnu_cli.foreground import Foreground
from mahavishnu_cli.options import example, json_option, jsonl_option, type_option
from mahavishnu_cli.progress import open_progress
from mahavishnu_cli.show import finish, style_of
from mahavishnu_cli.streams import say
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager


@click.command(
    "batch",
    epilog=example(
        "mahavishnu workers batch tasks.yaml",
        "mahavishnu workers batch tasks.jsonl --type shell --retry --json > results.json",
        """jq -c '{prompt: .title}' issues.jsonl | mahavishnu workers batch -""",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE")
@type_option
@click.option("--retry", is_flag=True, help="Carry out again what did not complete the last time.")
@click.option("--fresh", is_flag=True, help="Carry out everything again.")
@json_option("the results")
@jsonl_option
@click.pass_obj
def batch(
    start: Start, file: str, type_name: str | None, retry: bool, fresh: bool, as_json: bool, as_jsonl: bool
) -> int:
    """Carry out the tasks of a file; go on where it stopped.

    FILE is a list in YAML or JSON, or JSON lines; '-' is standard input. Each item has a prompt, and may have
    worker_type or worker_id, timeout, repo (as seen from the file) and id. Given the same file again, items
    that have a result are not done again, unless they were cancelled: an item is known by its id, else by its
    place and what it says. Workers that were spawned for an item are closed after it.
    """
    if retry and fresh:
        raise click.UsageError(
            "--fresh carries out everything again, --retry what did not complete: choose one"
        )
    style = style_of(as_json=as_json, as_jsonl=as_jsonl)
    start.require_workers()
    catalog = start.catalog
    source = read_source(file)
    items = read_items(source, Known(catalog.get_for_tasks, start.state.worker_for_tasks))
    kind = start.task_type(type_name) if any(not (i.worker_type or i.worker_id) for i in items) else ""
    with open_journal(start.state, source) as journal:

        async def body(manager: WorkerManager, interrupts: Interrupts) -> int:
            await manager.recover()
            made = plan(items, journal, manager.app.state, retry=retry, fresh=fresh)
            _announce(made)
            progress = open_progress(manager, len(made.left), style, manager.app.secrets)
            run = BatchRun(Foreground(manager, progress, interrupts), journal, made, kind)
            await run.carry_out_all()
            results = [made.taken[item.key] for item in items if item.key in made.taken]
            finish(results, style)
            if len(results) < len(items):
                say(f"{len(items) - len(results)} not begun: the same command goes on with them")
            return worst([*run.statuses, *(int(not each.is_success()) for each in results)])

        return start.manage(body, is_run=True)


def _announce(made: Plan) -> None:
    if made.taken or made.under_way:
        begun = len(made.left) - len(made.under_way)
        taken = counted(len(made.taken), "result")
        say(f"{taken} taken from before, {len(made.under_way)} still running, {begun} to begin")
