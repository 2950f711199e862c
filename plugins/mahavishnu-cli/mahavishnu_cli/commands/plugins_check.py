"""``plugins check``: an installed plugin held against the contract, row by row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.completing import plugin_names
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit, emit_json, is_unread, say
from mahavishnu_core.errors import UsageError
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_core.models import JSON
    from mahavishnu_core.testing import Outcome, Row

_WORDS = {"pass": "pass", "fail": "FAIL", "skip": "-"}
_DETAIL = 100
_AGENTS_SECONDS = 15


@click.command(
    "check",
    epilog=example(
        "mahavishnu plugins check claude",
        "mahavishnu plugins check echo -k sample -v",
        "mahavishnu plugins check echo --json | jq '.rows[] | select(.state == \"fail\")'",
    ),
)
@click.argument("name", shell_complete=plugin_names)
@click.option("-k", "only", metavar="TEXT", default="", help="Look only at rows with TEXT in their name.")
@click.option("-v", "--verbose", is_flag=True, help="Show what each row promises, and details whole.")
@json_option("the rows")
def check(name: str, only: str, verbose: bool, as_json: bool) -> int:
    """Check an installed plugin: does it keep the contract?

    Its types, its commands, how it reads its recorded samples in any pieces, whether they show what it
    declares, time limits and cancelling, and over forty programs that misbehave in the place of its agent's.
    Takes about half a minute for an agent, and needs neither its program nor a network. Exit status: 0 every
    row that applies passed, 1 some did not, 2 there is no such plugin, 3 it could not be loaded.
    """
    from mahavishnu_cli.signals import unwinding
    from mahavishnu_core.testing import rows_for

    every = rows_for(name)
    rows = [row for row in every if only in row.name]
    if not rows:
        raise UsageError(f"no row of plugin {name!r} has {only!r} in its name: leave -k out to see all")
    programs = Counter(map(_misbehaves_for, every))
    outcomes: list[Outcome] = []
    with unwinding() as heard:
        for row in rows:
            if not as_json:
                _announce(row, programs)
            outcome = row.outcome()
            if heard.exit_status:  # whatever has become of the interrupt
                break
            outcomes.append(outcome)
            if not as_json:
                _show(outcome, verbose=verbose)
            if is_unread():
                break
    if cut_short := heard.exit_status or int(is_unread()):
        return cut_short
    if as_json:
        emit_json({"plugin": name, "rows": [_record(outcome) for outcome in outcomes]})
    else:
        emit(_sum(name, outcomes, whole=not only))
    return 1 if any(outcome.state == "fail" for outcome in outcomes) else 0


def _announce(row: Row, programs: Counter[str]) -> None:
    """Say why nothing is said for a while: the first of these rows runs all programs of its type."""
    kind = _misbehaves_for(row)
    if kind and (count := programs.pop(kind, 0)):
        say(f"{count} programs misbehave in the place of the agent of {kind!r}: about {_AGENTS_SECONDS} s")


def _misbehaves_for(row: Row) -> str:
    """The worker type whose agent's place a program takes in this row; nothing in other rows."""
    kind, is_agent, _ = row.name.partition(": agent ")
    return kind if is_agent else ""


def _show(outcome: Outcome, *, verbose: bool) -> None:
    row = outcome.row
    whole = verbose or outcome.state == "fail"
    detail = one_line(outcome.detail, 0 if whole else _DETAIL)
    emit(f"{_WORDS[outcome.state]:4}  {row.name}: {detail}".rstrip(": "))
    if verbose:
        emit(f"      {row.promise}")


def _sum(name: str, outcomes: Sequence[Outcome], *, whole: bool) -> str:
    count = {state: sum(outcome.state == state for outcome in outcomes) for state in _WORDS}
    verdict = " does not keep the contract" if count["fail"] else " keeps the contract" if whole else ""
    return (
        f"{name}{verdict}: {count['pass']} rows passed, {count['fail']} failed, {count['skip']} do not apply"
    )


def _record(outcome: Outcome) -> JSON:
    row = outcome.row
    return {"name": row.name, "promise": row.promise, "state": outcome.state, "detail": outcome.detail}
