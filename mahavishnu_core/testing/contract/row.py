"""A row of the contract: one promise, and the look that tells whether it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar
from unittest import SkipTest

import attrs
import trio

from mahavishnu_core.errors import leaves

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.abc import Clock

T = TypeVar("T")


class Broken(AssertionError):
    """A promise is not kept; the text says how."""


class DoesNotApply(SkipTest):
    """A promise that this plugin does not make; the text says why. pytest shows it as skipped."""


@attrs.frozen
class Row:
    """One promise. ``str(row)`` names it in test ids."""

    name: str
    promise: str
    """What is promised, in a sentence."""
    _look: Callable[[], str]

    def check(self) -> str:
        """What was seen, in a few words. Raises Broken, and DoesNotApply."""
        return self._look()

    def outcome(self) -> Outcome:
        """The same as a value. Whatever the plugin raises is its failure."""
        try:
            return Outcome(self, "pass", self.check())
        except DoesNotApply as reason:
            return Outcome(self, "skip", str(reason))
        except Broken as broken:
            return Outcome(self, "fail", str(broken))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # foreign code: anything may come
            return Outcome(self, "fail", f"{type(error).__name__}: {error}")

    def __str__(self) -> str:
        return self.name


@attrs.frozen
class Outcome:
    """What looking at a row came to."""

    row: Row
    state: Literal["pass", "fail", "skip"]
    detail: str
    """What was seen, how the promise is broken, or why it does not apply."""


def run(look: Callable[[], Awaitable[T]], clock: Clock | None = None) -> T:
    """What an async look comes to, under Trio. What it raises comes out as it is, not in a group."""
    try:
        return trio.run(look, clock=clock)
    except BaseExceptionGroup as group:
        raise leaves(group)[0] from group  # noqa: ASYNC123  # the group is kept as its cause


def require(holds: object, text: str) -> None:
    """Raises Broken with the text unless it holds."""
    if not holds:
        raise Broken(text)
