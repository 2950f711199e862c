"""``workers spawn``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.notices import noticing
from mahavishnu_cli.options import example, json_option, repo_option, type_option
from mahavishnu_cli.standing import tell_notices
from mahavishnu_cli.streams import emit, emit_json, say
from mahavishnu_cli.words import counted

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager


@click.command(
    "spawn",
    epilog=example(
        "mahavishnu workers spawn --type terminal-claude --count 3",
        "id=$(mahavishnu workers spawn -t shell --repo ~/src/thing)",
    ),
)
@type_option
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 50),
    default=1,
    metavar="N",
    help="How many, 1 to 50. Default: 1.",
)
@repo_option
@json_option("an array of ids")
@click.pass_obj
def spawn(start: Start, type_name: str | None, count: int, repo: Path | None, as_json: bool) -> int:
    """Make workers ready, and print their ids.

    A worker without a task costs nothing but its directory. Give it one with 'workers execute --worker ID'.
    Standing ones, as debug monitors are, begin at once, and go on until 'workers close'.
    """
    start.require_workers()
    kind = start.worker_type(type_name)

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        with noticing(manager):
            ids = await manager.spawn_workers(kind, count, repo=repo)
        if as_json:
            emit_json([*ids])
        else:
            emit("\n".join(ids))
            say(f"spawned {counted(count, 'worker')} of type {kind}")
        for worker_id in ids:
            tell_notices(manager, worker_id)
        return 0

    return start.manage(body)
