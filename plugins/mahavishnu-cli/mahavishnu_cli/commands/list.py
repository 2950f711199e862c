"""``workers list``: without trio or plugins as long as nothing has to be settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import complain, emit, emit_json, say
from mahavishnu_cli.table import table
from mahavishnu_cli.words import counted, duration
from mahavishnu_core.damage import damaged_workers
from mahavishnu_core.report import WorkerReport, report

if TYPE_CHECKING:
    from mahavishnu_cli.start import Start

_HEADER = ("WORKER", "TYPE", "STATUS", "TASK", "TIME", "DIRECTORY")


@click.command(
    "list",
    epilog=example("mahavishnu workers list", "mahavishnu workers list --all --json | jq '.[].status'"),
)
@click.option("-a", "--all", "with_closed", is_flag=True, help="Closed workers too.")
@json_option("an array of workers")
@click.pass_obj
def list_workers(start: Start, with_closed: bool, as_json: bool) -> int:
    """List the workers and what they are doing.

    A worker has the status of its latest task; one without a task is pending. What ended while nobody
    looked is settled and stored first.
    """
    status, state = start.settle(), start.state
    reports = [report(state, worker, {}) for worker in state.workers(with_closed=with_closed)]
    known = {each.worker_id for each in reports}
    damaged = list(damaged_workers(state, known=known, with_closed=with_closed))
    if damaged:
        complain(f"{counted(len(damaged), 'worker')} cannot be read: see 'mahavishnu doctor'")
    if as_json:
        emit_json([each.to_dict() for each in reports])
    elif reports:
        emit(table(_HEADER, map(_row, reports)))
    else:
        say("no workers: spawn some with 'mahavishnu workers spawn'")
    return status


def _row(worker: WorkerReport) -> tuple[str, ...]:
    status = f"{worker.status.value}, closed" if worker.closed else worker.status.value
    return (
        worker.worker_id,
        worker.worker_type,
        status,
        worker.task_id or "-",
        duration(worker.elapsed_seconds) or "-",
        worker.workspace,
    )
