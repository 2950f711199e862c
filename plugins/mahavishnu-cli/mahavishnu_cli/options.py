"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mahavishnu_cli.completing import type_names

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")


def json_option(what: str) -> Callable[[F], F]:
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


def jsonl_option(command: F) -> F:
    return click.option(
        "--jsonl",
        "as_jsonl",
        is_flag=True,
        help="Print events as they come, then the results, one JSON object a line.",
    )(command)


def type_option(command: F) -> F:
    return click.option(
        "-t",
        "--type",
        "type_name",
        shell_complete=type_names,
        metavar="NAME",
        help="Worker type; 'mahavishnu workers types' lists them. Default: the setting worker_default_type.",
    )(command)


def repo_option(command: F) -> F:
    return click.option(
        "--repo",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Directory that the workers work in. Default: the current one.",
    )(command)


def example(*lines: str) -> str:
    """An epilog of examples that is shown as it is written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
