"""``workers health``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_cli.words import SWEEP_ADVICE, counted, waiting

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager
    from mahavishnu_core.health import Health


@click.command(
    "health",
    epilog=example("mahavishnu workers health", "mahavishnu workers health --json | jq -r .status"),
)
@json_option("it")
@click.pass_obj
def health(start: Start, as_json: bool) -> int:
    """Say how the workers are doing, taken together.

    It is degraded while every slot is taken, while a storage does not have a result yet or cannot send it on,
    while a place holds something for workers that are gone, or cannot say whether it does, and while the
    file of a worker cannot be read.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        found = await manager.health()
        if as_json:
            emit_json(found.to_dict())
            return 0
        emit(_in_words(found))
        return 0

    return start.manage(body, tells_backlogs=False)


def _in_words(found: Health) -> str:
    lines = [
        f"{found.status}: {counted(found.workers_active, 'worker')} open, "
        f"{found.tasks_running} of at most {found.max_concurrent} tasks running, "
        f"{found.tasks_pending} waiting"
    ]
    if found.not_stored:
        tasks = " ".join(found.not_stored)
        lines.append(f"not stored everywhere yet: {tasks}: try again with 'mahavishnu results sync'")
    lines += [waiting(backlog, "not sent yet") for backlog in found.not_mirrored]
    lines += [f"left over: {leftover}" for leftover in found.leftovers]
    if found.leftovers:
        lines.append(SWEEP_ADVICE)
    lines += [f"not known what is left over: {failure}" for failure in found.not_swept]
    lines += [f"damaged, see 'mahavishnu doctor': {path}" for path in found.damaged]
    return "\n".join(lines)
