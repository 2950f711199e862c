"""``workers close``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from mahavishnu_cli.border import worst
from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import complain, emit, emit_json
from mahavishnu_cli.words import counted
from mahavishnu_core.models import Closing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager
    from mahavishnu_core.models import JSON, Swept
    from mahavishnu_core.state import StateDir


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
        closing = _as_if_closed(state, ids) if dry_run else await manager.close_workers(ids)
        swept = await manager.sweep(remove=not dry_run) if all_workers else None
        done = _Done(closing, swept, dry_run)
        if as_json:
            emit_json(done.to_dict())
        else:
            done.tell()
        for worker_id, error in closing.failures.items():
            complain(f"worker {worker_id!r} cannot be closed: {error}")
        return worst(
            [
                1 if swept is not None and swept.failures else 0,
                *(error.exit_status for error in closing.failures.values()),
            ]
        )

    return start.manage(body)


@attrs.frozen
class _Done:
    """What was done, or would be."""

    _closing: Closing
    _swept: Swept | None
    _is_dry_run: bool

    def to_dict(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {
            "closed": [*self._closing.closed],
            "already_closed": [*self._closing.closed_before],
        }
        if failures := self._closing.failures:
            found["not_closed"] = {worker_id: str(error) for worker_id, error in failures.items()}
        if self._swept is not None:
            found["removed"] = [attrs.asdict(leftover) for leftover in self._swept.leftovers]
            found["not_swept"] = [*self._swept.failures]
        return found

    def tell(self) -> None:
        close, remove = ("would close", "would remove") if self._is_dry_run else ("closed", "removed")
        closed, before = self._closing.closed, self._closing.closed_before
        if closed or not before:
            which = f": {' '.join(closed)}" if self._is_dry_run and closed else ""
            emit(f"{close} {counted(len(closed), 'worker')}{which}")
        if before:
            emit(f"closed before: {' '.join(before)}")
        if self._swept is None:
            return
        for leftover in self._swept.leftovers:
            emit(f"{remove} {leftover}")
        for failure in self._swept.failures:
            complain(f"what is left over is not known, or not all of it removed: {failure}")


def _as_if_closed(state: StateDir, ids: Iterable[str]) -> Closing:
    """What closing would come to."""
    before = tuple(worker_id for worker_id in ids if state.is_closed(worker_id))
    return Closing(tuple(worker_id for worker_id in ids if worker_id not in before), before, {})
