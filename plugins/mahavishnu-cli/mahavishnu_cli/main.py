"""The entry point: the global options, the commands of plugins, and one place where errors end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mahavishnu_cli import streams
from mahavishnu_cli.border import report, worst
from mahavishnu_cli.lazy import LazyGroup
from mahavishnu_cli.start import Start
from mahavishnu_cli.tree import COMMANDS
from mahavishnu_core import __version__
from mahavishnu_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "mahavishnu"


class Root(LazyGroup):
    """The command line itself. Plugins are asked for their commands only when ours are not enough."""

    _has_asked = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._ask_plugins(ctx)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins(ctx)
        return super().list_commands(ctx)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command of a plugin. Raises PluginError: nothing silently replaces anything."""
        wanted = name or cmd.name
        if wanted in self.commands:
            raise PluginError(f"there is a command {wanted!r} already")
        super().add_command(cmd, name)

    def _ask_plugins(self, ctx: click.Context) -> None:
        if not self._has_asked:
            self._has_asked = True
            start = ctx.ensure_object(Start)
            with streams.diverted():
                start.host.all("register_commands", cli=self)
            start.tell_refused()


def _leave_plugins_out(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Start).with_plugins = not value


@click.command(
    cls=Root,
    commands={command.name or "": command for command in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Example:
  mahavishnu workers execute --type terminal-claude --count 3 --prompt "Implement a REST API"

Results go to standard output, progress and notices to standard error. Exit status: 0 every task
completed, 1 some task did not, 2 wrong usage or settings, 3 a program or plugin is missing, 4 a storage
could not keep something, 128+n ended by signal n.""",
)
@click.option(
    "--debug",
    is_flag=True,
    help="Log all that happens, show it in a debug monitor during a run, and show tracebacks of errors.",
)
@click.option(
    "--config",
    "config_dir",
    metavar="DIR",
    help="Read the settings in DIR too; they stand over those of all other files.",
)
@click.option(
    "--no-plugins",
    is_flag=True,
    is_eager=True,  # --help lists the commands of plugins
    expose_value=False,
    callback=_leave_plugins_out,
    help="Load no plugins, to find out whether one of them is at fault.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_obj
def root(start: Start, debug: bool, config_dir: str | None) -> None:
    """Run headless AI coding agents as workers: many at once, with every result kept."""
    start.debug, start.config_dir = debug, config_dir


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; its exit status."""
    start = Start(debug="--debug" in arguments)
    streams.prepare()
    try:
        status = root.main(list(arguments), PROGRAM, standalone_mode=False, obj=start)
        status = status if isinstance(status, int) else 0
    except BaseException as error:  # noqa: ASYNC103, BLE001  # the border: all becomes a line and a status
        status = report(error, debug=start.debug)
    start.tell_refused()
    return worst([status, 1 if streams.lost_output() else 0])
