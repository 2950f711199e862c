"""What a shell completes ids and names to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mahavishnu_cli.streams import diverted
from mahavishnu_core.errors import MahavishnuError

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from mahavishnu_core.state import StateDir


def worker_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    workers = _state().workers(with_closed=True)
    return _items({worker.worker_id: worker.type.name for worker in workers}, incomplete)


def task_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tasks, and workers, which stand for their latest task."""
    state = _state()
    start = incomplete.partition(".")[0]
    near = [each for each in state.workers(with_closed=True) if each.worker_id.startswith(start)]
    found = {worker.worker_id: worker.type.name for worker in near}
    found |= {task.task_id: "" for worker in near for task in state.tasks(worker.worker_id)}
    return _items(found, incomplete)


@diverted()
def type_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from mahavishnu_core.app import load_app

    try:
        entries = load_app().catalog.entries
    except MahavishnuError:  # broken settings are told by the commands that need them
        return []
    return _items({entry.type.name: entry.type.description for entry in entries}, incomplete)


@diverted()
def plugin_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from mahavishnu_core.host import load_plugins

    return _items({plugin.name: plugin.source for plugin in load_plugins().loaded}, incomplete)


def setting_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from mahavishnu_core.settings import MAIN_FIELDS

    return _items(dict.fromkeys(sorted(MAIN_FIELDS), ""), incomplete)


def _state() -> StateDir:
    from mahavishnu_core.state import StateDir, state_dir_path

    return StateDir(state_dir_path(os.environ))


def _items(found: dict[str, str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name, help=said) for name, said in found.items() if name.startswith(incomplete)]
