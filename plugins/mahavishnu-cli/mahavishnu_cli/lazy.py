"""Commands that are imported when they are run, and not to be listed in a help text."""

from __future__ import annotations

import gc
from copy import copy
from importlib import import_module

import click

from mahavishnu_cli.streams import diverted


class LazyCommand(click.Command):
    """Stands for a command in a list: its name and summary, and ``module:attribute`` where it lies."""

    def __init__(self, name: str, target: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self._target = target

    def load(self) -> click.Command:
        """The command itself. Hooks and observers run in it, so only what it emits is its output."""
        module, _, attribute = self._target.partition(":")
        command: click.Command = copy(getattr(import_module(module), attribute))
        assert command.callback is not None, "no command of ours is without"  # noqa: S101
        command.callback = diverted()(command.callback)
        return command


class LazyGroup(click.Group):
    """A group whose commands may be lazy."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, LazyCommand):
            command = command.load()
        if not isinstance(command, LazyGroup) and not gc.isenabled():  # it runs next, as long as it likes
            gc.freeze()
            gc.enable()
        return name, command, rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added, which is that of use."""
        return list(self.commands)
