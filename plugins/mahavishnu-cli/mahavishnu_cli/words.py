"""Figures in words: durations, token counts, costs; and words that several commands say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from mahavishnu_core.models import Backlog

_MINUTE, _HOUR = 60, 3600

SWEEP_ADVICE = (
    "remove it with 'mahavishnu workers close --all', which closes open workers too; "
    "with --dry-run it says what it would do"
)
"""What to do about leftovers."""


def duration(seconds: float | None) -> str:
    """``1.2 s``, ``3 min 05 s``, ``2 h 04 min``; nothing where it is not known."""
    if seconds is None:
        return ""
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def tokens(count: int | None) -> str:
    """``950``, ``12.3k``, ``1.2M``; nothing where the agent has not said."""
    if count is None:
        return ""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{sign}"
    return str(count)


def cost(dollars: float | None) -> str:
    """``$0.0421``; ``unknown`` where nobody has said, which is not the same as nothing."""
    if dollars is None:
        return "unknown"
    return f"${dollars:.4f}" if dollars < 1 else f"${dollars:.2f}"


def waiting(backlog: Backlog, standing: str) -> str:
    """``session-buddy: 3 results not sent: it is not there -> start it``; ``standing`` is ``not sent``.

    Without a count where nothing waits, or nobody knows how much.
    """
    what = f"{counted(backlog.count, 'result')} {standing}: " if backlog.count else ""
    return one_line(f"{backlog.storage}: {what}{why_waiting(backlog)}")


def why_waiting(backlog: Backlog) -> str:
    """The reason and the advice, on one line."""
    advice = f" -> {backlog.advice}" if backlog.advice else ""
    return one_line(f"{backlog.reason}{advice}" if backlog.reason else f"on their way{advice}")


def counted(count: int, thing: str) -> str:
    """``1 worker``, ``3 workers``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
