"""``workers close``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager


@click.command(
    "close",
    epilog=example("mahavishnu workers close k3f9a2b1", "mahavishnu workers close --all"),
)
@click.argument("worker_ids", nargs=-1, shell_complete=complete_worker_ids, metavar="[ID]...")
@click.option("--all", "all_workers", is_flag=True, help="Every worker that is open.")
@json_option("which were closed, and which had been before,")
@click.pass_obj
def close(start: Start, worker_ids: tuple[str, ...], all_workers: bool, as_json: bool) -> int:
    """End workers and give back what they hold.

    A task under way is cancelled, and everything that it started is ended. Results stay.
    """
    if bool(worker_ids) == all_workers:
        raise click.UsageError("name the workers to close, or say --all")
    state = start.state
    if all_workers:
        ids = [worker.worker_id for worker in state.workers()]
    else:
        ids = [state.worker(worker_id).worker_id for worker_id in dict.fromkeys(worker_ids)]

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        was_open = await _close(manager, ids)
        closed = [worker_id for worker_id in ids if was_open[worker_id]]
        before = [worker_id for worker_id in ids if not was_open[worker_id]]
        if as_json:
            emit_json({"closed": [*closed], "already_closed": [*before]})
            return 0
        if closed or not before:
            emit(f"closed {counted(len(closed), 'worker')}")
        if before:
            emit(f"closed before: {' '.join(before)}")
        return 0

    return start.manage(body)


async def _close(manager: WorkerManager, ids: list[str]) -> dict[str, bool]:
    was_open: dict[str, bool] = {}

    async def close_one(worker_id: str) -> None:
        was_open[worker_id] = await manager.close_worker(worker_id)

    async with trio.open_nursery() as nursery:
        for worker_id in ids:
            nursery.start_soon(close_one, worker_id)
    return was_open
