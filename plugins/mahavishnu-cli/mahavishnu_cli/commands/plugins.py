"""``plugins list``."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_cli.table import table

if TYPE_CHECKING:
    from mahavishnu_cli.start import Start
    from mahavishnu_core.host import Loaded, Refused
    from mahavishnu_core.models import JSON

_HEADER = ("PLUGIN", "DISTRIBUTION", "VERSION", "STATE", "HOOKS OR REASON")


@click.command(
    "list",
    epilog=example(
        "mahavishnu plugins list", "mahavishnu plugins list -v", "python -m mahavishnu_core plugins"
    ),
)
@click.option("-v", "--verbose", is_flag=True, help="With the traceback of each plugin that was not loaded.")
@json_option("the plugins")
@click.pass_obj
def list_plugins(start: Start, verbose: bool, as_json: bool) -> int:
    """List the plugins, loaded and refused.

    The last example works even where a broken plugin or the command line itself keeps this one from running.
    """
    host = start.host
    records = [_loaded(plugin) for plugin in host.loaded] + [_refused(plugin) for plugin in host.refused]
    if as_json:
        emit_json({"plugins": [*records]})
        return 0
    emit(table(_HEADER, map(_row, records)))
    if verbose:
        for plugin in host.refused:
            if plugin.cause is not None:
                emit(f"\n{plugin}\n" + "".join(traceback.format_exception(plugin.cause)).rstrip())
    return 0


def _loaded(plugin: Loaded) -> dict[str, JSON]:
    hooks: list[JSON] = [*plugin.hooks]
    return _record(plugin) | {"state": "loaded", "hooks": hooks, "reason": None}


def _refused(plugin: Refused) -> dict[str, JSON]:
    return _record(plugin) | {"state": "refused", "hooks": [], "reason": plugin.reason}


def _record(plugin: Loaded | Refused) -> dict[str, JSON]:
    distribution, _, version = plugin.source.partition(" ")
    return {"name": plugin.name, "distribution": distribution, "version": version or None}


def _row(record: dict[str, JSON]) -> tuple[str, ...]:
    hooks = record["hooks"]
    said = record["reason"] or (" ".join(map(str, hooks)) if isinstance(hooks, list) else "")
    return tuple(
        str(word or "-")
        for word in (*(record[key] for key in ("name", "distribution", "version", "state")), said)
    )
