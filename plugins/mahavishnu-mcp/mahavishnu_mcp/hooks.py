"""The entry point: adds ``mahavishnu mcp``. The SDK is imported when a command runs, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    import click

HOOK_API = 1


@hookimpl
def register_commands(cli: click.Group) -> None:
    from mahavishnu_mcp.commands import mcp

    cli.add_command(mcp)
