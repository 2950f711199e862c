"""What a shell completes ids and names to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_cli.start import Start
from mahavishnu_core.errors import MahavishnuError

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def worker_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    workers = _start(ctx).state.workers(with_closed=True)
    return _items({worker.worker_id: worker.type.name for worker in workers}, incomplete)


def task_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tasks, and workers, which stand for their latest task."""
    state = _start(ctx).state
    start = incomplete.partition(".")[0]
    near = [each for each in state.workers(with_closed=True) if each.worker_id.startswith(start)]
    found = {worker.worker_id: worker.type.name for worker in near}
    found |= {task.task_id: "" for worker in near for task in state.tasks(worker.worker_id)}
    return _items(found, incomplete)


def type_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        entries = _start(ctx).app.catalog.entries
    except MahavishnuError:  # broken settings are told by the commands that need them
        return []
    return _items({entry.type.name: entry.type.description for entry in entries}, incomplete)


def _start(ctx: click.Context) -> Start:
    return ctx.find_object(Start) or Start()


def _items(found: dict[str, str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name, help=said) for name, said in found.items() if name.startswith(incomplete)]
