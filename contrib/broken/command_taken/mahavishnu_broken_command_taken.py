"""Broken: it adds a command that is there already."""

from __future__ import annotations

import click

from mahavishnu_core import hookimpl

HOOK_API = 1


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command(click.Command("workers"))
