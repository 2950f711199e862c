"""``workers close``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click
import trio

from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import complain, emit, emit_json
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager
    from mahavishnu_core.models import JSON, Swept


@click.command(
    "close",
    epilog=example("mahavishnu workers close k3f9a2b1", "mahavishnu workers close --all --dry-run"),
)
@click.argument("worker_ids", nargs=-1, shell_complete=complete_worker_ids, metavar="[ID]...")
@click.option("--all", "all_workers", is_flag=True, help="Every worker that is open, and what is left over.")
@click.option("--dry-run", is_flag=True, help="Say what would be closed and removed, and do nothing.")
@json_option("which were closed, which had been before, and what was removed,")
@click.pass_obj
def close(start: Start, worker_ids: tuple[str, ...], all_workers: bool, dry_run: bool, as_json: bool) -> int:
    """End workers and give back what they hold.

    A task under way is cancelled, and everything that it started is ended. Results stay. With --all, what
    places still hold for workers that are gone is removed, too.
    """
    if bool(worker_ids) == all_workers:
        raise click.UsageError("name the workers to close, or say --all")
    state = start.state
    if all_workers:
        ids = [worker.worker_id for worker in state.workers()]
    else:
        ids = [state.worker(worker_id).worker_id for worker_id in dict.fromkeys(worker_ids)]

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        if dry_run:
            was_open = {worker_id: not state.is_closed(worker_id) for worker_id in ids}
        else:
            was_open = await _close(manager, ids)
        swept = await manager.sweep(remove=not dry_run) if all_workers else None
        done = _Done(was_open, swept, dry_run)
        if as_json:
            emit_json(done.to_dict())
        else:
            done.tell()
        return 1 if swept is not None and swept.failures else 0

    return start.manage(body)


@attrs.frozen
class _Done:
    """What was done, or would be."""

    _was_open: Mapping[str, bool]
    _swept: Swept | None
    _is_dry_run: bool

    @property
    def _closed(self) -> list[str]:
        return [worker_id for worker_id, was_open in self._was_open.items() if was_open]

    @property
    def _before(self) -> list[str]:
        return [worker_id for worker_id, was_open in self._was_open.items() if not was_open]

    def to_dict(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {"closed": [*self._closed], "already_closed": [*self._before]}
        if self._swept is not None:
            found["removed"] = [attrs.asdict(leftover) for leftover in self._swept.leftovers]
            found["not_swept"] = [*self._swept.failures]
        return found

    def tell(self) -> None:
        close, remove = ("would close", "would remove") if self._is_dry_run else ("closed", "removed")
        if self._closed or not self._before:
            which = f": {' '.join(self._closed)}" if self._is_dry_run and self._closed else ""
            emit(f"{close} {counted(len(self._closed), 'worker')}{which}")
        if self._before:
            emit(f"closed before: {' '.join(self._before)}")
        if self._swept is None:
            return
        for leftover in self._swept.leftovers:
            emit(f"{remove} {leftover}")
        for failure in self._swept.failures:
            complain(f"what is left over is not known, or not all of it removed: {failure}")


async def _close(manager: WorkerManager, ids: list[str]) -> dict[str, bool]:
    was_open: dict[str, bool] = {}

    async def close_one(worker_id: str) -> None:
        was_open[worker_id] = await manager.close_worker(worker_id)

    async with trio.open_nursery() as nursery:
        for worker_id in ids:
            nursery.start_soon(close_one, worker_id)
    return was_open
