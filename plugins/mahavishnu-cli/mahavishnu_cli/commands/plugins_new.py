"""``plugins new``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.new_plugin import NewPlugin
from mahavishnu_cli.options import example
from mahavishnu_cli.streams import emit, say
from mahavishnu_core.catalog import CORE_AGENT, CORE_PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_cli.start import Start


@click.command(
    "new",
    epilog=example("mahavishnu plugins new robot", "mahavishnu plugins new robot --directory ~/src"),
)
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where to write it. Default: the current directory.",
)
@click.pass_obj
def new(start: Start, name: str, directory: Path) -> int:
    """Write a plugin for an agent of your own, to begin with.

    It is complete: an agent and a worker type called NAME, whose program says each prompt again, a recorded
    run of it, and tests that hold it against the contract of all agents.
    """
    plugin = NewPlugin(name)
    plugin.check(set(_taken(start)), directory)
    place = plugin.write(directory)
    emit(str(place))
    where = quote(str(place))
    say("install it, test it, use it:")
    say(f"  pip install -e {where} pytest")
    say(f"  pytest {where}")
    say(f"  mahavishnu workers execute --type {name} --count 1 --prompt hello")
    return 0


def _taken(start: Start) -> Iterator[str]:
    """The names of plugins, and of the worker types, agents and places that they and the core bring."""
    yield from (CORE_AGENT, CORE_PLACE)
    yield from (plugin.name for plugin in start.host.loaded)
    yield from (plugin.name for plugin in start.host.refused)
    for entry in start.catalog.entries:
        yield from (entry.type.name, *entry.type.aliases, entry.type.agent, entry.type.place)
