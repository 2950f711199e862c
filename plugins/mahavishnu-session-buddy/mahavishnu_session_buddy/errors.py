"""What can keep a letter from arriving, told apart by whether it may have arrived all the same."""

from __future__ import annotations

from mahavishnu_core.errors import MahavishnuError


class MirrorError(MahavishnuError):
    """The server could not be asked, or did not do what it was asked; ``advice`` says what to do."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason}: {advice}" if advice else reason)
        self.reason = reason
        self.advice = advice


class Unreachable(MirrorError):
    """There is no conversation with the server, or none any more: what was under way may have arrived."""


class Refused(MirrorError):
    """The server answered something else than that it has stored."""
