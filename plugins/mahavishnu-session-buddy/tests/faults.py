"""What can be wrong with a Session-Buddy, as switches that a test may set at any time."""

from __future__ import annotations

from typing import TypeAlias

import attrs

EVERYTHING = "*"
"""The place of a fault that meets every request, before anybody looks at what it asks."""

LOCKED = (
    "Error storing reflection: IO Error: Could not set lock on file "
    '"/home/me/.claude/data/reflection.duckdb": Conflicting lock is held in python3.13 (PID 4711). '
    "See also https://duckdb.org/docs/stable/connect/concurrency"
)
"""What a second server on one database answers to each store, as a result like any other."""


@attrs.frozen
class Silence:
    """No answer until the buddy is told to ``release()`` it; then as if nothing had been.

    Who leaves before that has not had his call: the real server gives up what nobody waits for.
    """


@attrs.frozen
class Status:
    """Another HTTP status, and no result."""

    code: int = 500
    body: str = "Internal Server Error"


@attrs.frozen
class Says:
    """A text instead of the tool's answer."""

    text: str
    after: bool = False
    """Whether the tool has done its work all the same."""
    is_error: bool = False
    """Whether the result says that it is one; those of the real tools do not."""


@attrs.frozen
class Drop:
    """The connection breaks."""

    after: bool = False
    """Whether the tool has done its work before."""
    in_stream: bool = False
    """Whether the answer had begun, as where the real server is killed during a call."""


@attrs.frozen
class Pretence:
    """The answer is that of success, and nothing was done."""


@attrs.frozen
class Garbage:
    """An answer that is no JSON."""

    text: str = "<html>It works!</html>"


@attrs.frozen
class Flood:
    """An answer that is right, and has a text of this many bytes."""

    size: int = 5 << 20


Fault: TypeAlias = Silence | Status | Says | Drop | Pretence | Garbage | Flood


@attrs.define
class _Switch:
    fault: Fault
    left: int | None


@attrs.define
class Faults:
    """The faults that are on: one a place, which is a tool, a method of the protocol, or EVERYTHING."""

    _on: dict[str, _Switch] = attrs.field(factory=dict)

    def set(self, place: str, fault: Fault, times: int | None = None) -> None:
        """Switch a fault on, for the next so many requests, or until ``clear``."""
        is_tool = place not in {EVERYTHING, "initialize", "ping"} and "/" not in place
        assert is_tool or isinstance(fault, Silence | Status | Drop | Garbage), f"{fault} is for tools"
        self._on[place] = _Switch(fault, times)

    def clear(self, *places: str) -> None:
        """Switch off what is on at these places, or everything."""
        for place in places or tuple(self._on):
            self._on.pop(place, None)

    def take(self, place: str) -> Fault | None:
        """The fault that a request meets here; it counts as one of the times."""
        switch = self._on.get(place)
        if switch is None:
            return None
        if switch.left is not None:
            switch.left -= 1
            if switch.left <= 0:
                del self._on[place]
        return switch.fault

    def lasting(self, place: str) -> Fault | None:
        """The fault that is on here for good: what is no request does not use up the times of another."""
        switch = self._on.get(place)
        return switch.fault if switch is not None and switch.left is None else None
