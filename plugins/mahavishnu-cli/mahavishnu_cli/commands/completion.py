"""``completion``: the script that a shell needs to complete our commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from mahavishnu_cli.options import example
from mahavishnu_cli.streams import emit, output, say

if TYPE_CHECKING:
    from typing import Literal

_INSTALL = {
    "bash": "mahavishnu completion bash > ~/.local/share/bash-completion/completions/mahavishnu",
    "zsh": "mahavishnu completion zsh > ~/.zfunc/_mahavishnu   (with 'fpath+=~/.zfunc' before compinit)",
    "fish": "mahavishnu completion fish > ~/.config/fish/completions/mahavishnu.fish",
}


@click.command("completion", epilog=example(*_INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def completion(ctx: click.Context, shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print the script for completion in your shell.

    It completes commands, options, worker types, workers and tasks.
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows all three"  # noqa: S101
    root = ctx.find_root()
    name = root.info_name or ""
    emit(made(root.command, {}, name, f"_{name.upper()}_COMPLETE").source().rstrip("\n"))
    if output().isatty():
        say(f"to install it: {_INSTALL[shell]}")
    return 0
