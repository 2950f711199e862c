"""``workers types``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json
from mahavishnu_cli.table import table

if TYPE_CHECKING:
    from mahavishnu_cli.start import Start
    from mahavishnu_core.catalog import Entry
    from mahavishnu_core.models import JSON

_HEADER = ("TYPE", "AGENT", "PLACE", "FROM", "STATE")


@click.command(
    "types",
    epilog=example("mahavishnu workers types", "mahavishnu workers types --json | jq -r '.types[].name'"),
)
@json_option("the types")
@click.pass_obj
def types(start: Start, as_json: bool) -> int:
    """List the worker types, and why one cannot be used.

    Whether the program of a type is installed is checked by 'mahavishnu doctor'.
    """
    entries, default = start.catalog.entries, start.settings.worker_default_type
    if as_json:
        emit_json({"default": default, "types": [_to_dict(entry) for entry in entries]})
    else:
        emit(table(_HEADER, [_row(entry, default) for entry in entries]))
    return 0


def _to_dict(entry: Entry) -> dict[str, JSON]:
    kind = entry.type
    return {
        "name": kind.name,
        "aliases": list(kind.aliases),
        "agent": kind.agent,
        "place": kind.place,
        "description": kind.description,
        "command_template": kind.command_template,
        "result_storage": kind.result_storage,
        "options": {**kind.options},
        "available": entry.unavailable is None,
        "unavailable": entry.unavailable,
        "source": entry.source,
    }


def _row(entry: Entry, default: str) -> tuple[str, ...]:
    kind = entry.type
    state = entry.unavailable or ("available, the default" if kind.name == default else "available")
    return (kind.name, kind.agent, kind.place, entry.source, state)
