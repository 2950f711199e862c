"""The border between errors and people: one line each on standard error, and the exit status."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.streams import complain, say
from mahavishnu_core.errors import MahavishnuError, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

INTERRUPTED = 130
_NOT_KEPT = 4


def worst(statuses: Iterable[int]) -> int:
    """The exit status that says most: something not kept, ended by a signal, missing, wrong usage, failed."""
    return max(statuses, key=_gravity, default=0)


def _gravity(status: int) -> int:
    order = {0: 0, 1: 1, 2: 2, 3: 3, 4: 256}
    return order.get(status, status)


def report(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong; the exit status that it ends in. Groups of errors are taken apart."""
    if debug:
        _trace(error)
    if isinstance(error, click.ClickException):
        return _report_usage(error)
    return worst([_report_one(one, debug=debug) for one in _distinct(error)])


def _distinct(error: BaseException) -> list[BaseException]:
    by_words = {f"{type(leaf).__name__}: {leaf}": leaf for leaf in leaves(error)}
    return list(by_words.values())


def _report_one(error: BaseException, *, debug: bool) -> int:
    match error:
        case MahavishnuError():
            complain(str(error))
            return error.exit_status
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            return 1
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            complain(
                "the disk is full: make room where the state directory lies ('mahavishnu doctor' names it); "
                "what has run is not lost, 'mahavishnu workers list' takes it up then"
            )
            return _NOT_KEPT
        case OSError(filename=str(path), strerror=str(reason)):
            complain(f"cannot use {path!r}: {reason}")
            return _NOT_KEPT
        case SystemExit():  # code of a plugin
            return error.code if isinstance(error.code, int) else 1
    words = " ".join(str(error).split())
    hint = "" if debug else "; run again with --debug for the traceback"
    complain(f"internal error: {type(error).__name__}: {words}{hint}")
    return 1


def _report_usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message())
        return error.exit_code
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context else ""
    complain(message[:1].lower() + message[1:] + hint)
    return error.exit_code


def _trace(error: BaseException) -> None:
    import traceback

    say("".join(traceback.format_exception(error)).rstrip())
