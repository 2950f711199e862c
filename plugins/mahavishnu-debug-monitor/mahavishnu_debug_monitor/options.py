"""What may be set under ``options:`` of the worker type ``debug-monitor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import attrs

from mahavishnu_core.settings import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

WindowKind: TypeAlias = Literal["auto", "iterm2", "tmux", "none"]
Profile: TypeAlias = Annotated[
    str,
    Rule("must be the name of a profile of iTerm2", lambda text: text.isprintable() and len(text) < 256),
]


@attrs.frozen
class MonitorOptions:
    """``auto`` is iTerm2 where it runs and lets us in, else tmux where it is installed, else no window."""

    window: WindowKind = "auto"
    profile: Profile = ""
    """Of iTerm2, for the window; empty: its default."""

    def faults(self) -> Iterator[tuple[str, str]]:
        """What cannot be together."""
        if self.profile and self.window in {"tmux", "none"}:
            yield "profile", f"is one of iTerm2, and the window is {self.window!r}"
