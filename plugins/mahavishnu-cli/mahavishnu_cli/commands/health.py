"""``workers health``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager


@click.command(
    "health",
    epilog=example("mahavishnu workers health", "mahavishnu workers health --json | jq -r .status"),
)
@json_option("it")
@click.pass_obj
def health(start: Start, as_json: bool) -> int:
    """Say how the workers are doing, taken together.

    It is degraded while every slot is taken, or while a storage does not have a result yet.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        found = await manager.health()
        if as_json:
            emit_json(found.to_dict())
            return 0
        emit(
            f"{found.status}: {counted(found.workers_active, 'worker')} open, "
            f"{found.tasks_running} of at most {found.max_concurrent} tasks running, "
            f"{found.tasks_pending} waiting"
        )
        if found.not_stored:
            tasks = " ".join(found.not_stored)
            emit(f"not stored everywhere yet: {tasks}: try again with 'mahavishnu results sync'")
        return 0

    return start.manage(body)
