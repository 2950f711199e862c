"""``mahavishnu mcp``: serve, and install into a client."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from mahavishnu_core.errors import UsageError

if TYPE_CHECKING:
    from mahavishnu_core import CommandLine

CLIENTS = ("claude", "codex", "gemini", "opencode", "qwen")
"""Clients whose configuration we know."""
DEFAULT_PORT = 8765


@click.group("mcp")
def mcp() -> None:
    """Let agents run workers, over the Model Context Protocol."""


@mcp.command(
    "serve",
    epilog="""\b
Examples:
  mahavishnu mcp serve                             (a client starts it so, over its standard input and output)
  mahavishnu mcp serve --transport http            (http://127.0.0.1:8765/mcp, with a token)
  mahavishnu mcp serve --root ~/src --root ~/work

What workers do is kept in the state directory, as ever: it outlives the server, and 'mahavishnu workers'
shows the same workers. Over HTTP every request needs the bearer token that $MAHAVISHNU_MCP_TOKEN holds, or
the one that is made on the first start and kept in mcp-token in the state directory.""",
)
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    help="Over which the client talks. Default: stdio.",
)
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="For http. Default: 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    metavar="N",
    help=f"For http; 0 takes a free one. Default: {DEFAULT_PORT}.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="For http: a name by which clients reach this server; may be repeated.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Workers may work in this directory and those below it; may be repeated. Default: the current one.",
)
@click.pass_obj
def serve(
    start: CommandLine,
    transport: str,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    roots: tuple[str, ...],
) -> int:
    """Serve MCP until the client leaves, or a signal comes.

    Tasks that run then go on: the next server, or 'mahavishnu workers list', takes them up.
    """
    if transport == "stdio":
        _refuse_addresses(click.get_current_context())
    start.settings  # noqa: B018  # its warnings are told before the protocol begins
    from pathlib import Path  # the help of all commands need not wait for it

    with _uncollected():
        from mahavishnu_mcp.serve import serve_http, serve_stdio
        from mahavishnu_mcp.service import Roots

    allowed = Roots.of([Path(root) for root in roots] or [Path.cwd()])
    if transport == "stdio":
        return serve_stdio(start.app, allowed)
    from mahavishnu_mcp.http import Address

    return serve_http(start.app, allowed, Address(host, port, allowed_hosts))


def _refuse_addresses(context: click.Context) -> None:
    """Raises UsageError where it was said where to listen, and nobody will."""
    for name, option in (("host", "--host"), ("port", "--port"), ("allowed_hosts", "--allowed-host")):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise UsageError(f"{option} is for HTTP: add --transport http, or leave it out")


@mcp.command(
    "install",
    epilog="""\b
Examples:
  mahavishnu mcp install --client claude           (shows what would be written, and asks)
  mahavishnu mcp install --client qwen --yes
  mahavishnu mcp install --client codex --print    (writes nothing)""",
)
@click.option("--client", type=click.Choice(CLIENTS), required=True, help="Whose configuration.")
@click.option("--print", "only_print", is_flag=True, help="Print what belongs into it, and write nothing.")
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
def install(client: str, only_print: bool, yes: bool) -> int:
    """Add this server to a client's configuration.

    What was there before is kept beside it with the ending .bak.
    """
    from mahavishnu_mcp.install import plan, shown

    if only_print:
        click.echo(shown(client), nl=False)
        return 0
    change = plan(client)
    if change.is_there_already:
        click.echo(f"{change.file} has it already")
        return 0
    click.echo(f"{change.file} gets:\n{change.entry}", err=True)
    if not yes and not _is_wanted():
        raise UsageError("nothing was written")
    kept = change.write()
    click.echo(f"written to {change.file}" + (f", as it was before: {kept}" if kept else ""))
    return 0


def _is_wanted() -> bool:
    """Ask whether to write. Raises UsageError where nobody answers, Abort at an interrupt."""
    try:
        return click.confirm("Write it?", err=True)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):
            raise
        click.echo(err=True)  # the question's line is not ended
        raise UsageError(
            "nothing was written, as nobody answers: pass --yes to write without being asked"
        ) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import what stays for good without looking for garbage in it: a tenth of the server's start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
