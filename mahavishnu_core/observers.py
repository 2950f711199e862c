"""The observers that plugins bring, each in a thread of its own: none delays a task or an engine's end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from queue import SimpleQueue
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, cast

import attrs
import msgspec
import trio

from mahavishnu_core.events import Raw, TaskEvent, ToolCall
from mahavishnu_core.watch import Blocked, HookBlocked, stack_of

if TYPE_CHECKING:
    from mahavishnu_core.engine import Observer
    from mahavishnu_core.host import Host
    from mahavishnu_core.models import JSON

NAMED_AFTER, CUT_OFF_AFTER = 1.0, 2.0
"""Seconds that one call may take, as often as we look: a stop of the whole process is one look."""
MOST_BEHIND = 10_000
"""Events that may wait for an observer."""
CLOSING = 1.0
"""Seconds in which observers may take what still waits for them when the engine ends."""
_LOOK_EVERY = 0.1


@asynccontextmanager
async def observing(host: Host, nursery: trio.Nursery) -> AsyncIterator[list[Observer]]:
    """What tells the plugins that implement ``monitor`` of an event: a function each, which never waits."""
    threads = [_Thread(host, name, call) for name, call in host.calls("monitor")]
    for thread in threads:
        nursery.start_soon(thread.work)
    if threads:
        nursery.start_soon(_watch, threads)
    try:
        yield [thread.tell for thread in threads]
    finally:
        for thread in threads:
            thread.finish()
        with trio.move_on_after(CLOSING, shield=True):
            for thread in threads:
                await thread.has_ended.wait()
        for thread in threads:
            thread.leave()


@attrs.define(eq=False)
class _Thread:
    """One observer. Its thread is never waited for: where it does not come back, it is left behind."""

    _host: Host
    _name: str
    _call: Callable[[Mapping[str, object]], object]
    _events: SimpleQueue[TaskEvent | None] = attrs.field(factory=SimpleQueue)
    _ident: int = 0
    _called_at: float | None = None
    """When the call that runs began; None between calls."""
    _looked_at: float | None = None
    """The call that was seen running at the last look, by when it began."""
    _looks: int = 0
    """At how many looks in a row it was."""
    _is_over: bool = False
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    has_ended: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, event: TaskEvent) -> None:
        if self._is_over:
            return
        if self._events.qsize() >= MOST_BEHIND:
            self._cut_off(self._blocked(f"it was more than {MOST_BEHIND} events behind"))
        else:
            self._events.put(event)

    async def work(self) -> None:
        """Have the thread take events until it is told to end, it fails, or it is cut off."""
        with self._scope:
            error = await trio.to_thread.run_sync(
                self._take_all, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
            if error is not None:
                self._cut_off(error)
        self.has_ended.set()

    def look(self) -> None:
        """Name an observer that has not come back for a while; later, cut it off."""
        called_at = self._called_at
        self._looks = self._looks + 1 if called_at is not None and called_at == self._looked_at else 0
        self._looked_at = called_at
        seconds = self._looks * _LOOK_EVERY
        if self._is_over or seconds < NAMED_AFTER:
            return
        self._name_it(NAMED_AFTER)
        if seconds >= CUT_OFF_AFTER:
            self._cut_off(self._blocked(f"it did not come back for {CUT_OFF_AFTER:g} s"))

    def finish(self) -> None:
        """Let the thread end when it has taken what is there."""
        self._events.put(None)

    def leave(self) -> None:
        """Give up an observer that has not ended in time."""
        if not self.has_ended.is_set() and not self._is_over:
            if (seconds := self._seconds()) >= CLOSING / 2:
                self._name_it(round(seconds, 1))
            left = f"it had not taken its last events {CLOSING:g} s after the end of the engine"
            self._cut_off(self._blocked(left))

    def _take_all(self) -> BaseException | None:
        """In the thread: the observer's own error, if it fails."""
        self._ident = get_ident()
        while (event := self._events.get()) is not None and not self._is_over:
            self._called_at = monotonic()
            try:
                self._call({"event": _own(event)})
            except BaseException as error:  # noqa: ASYNC103, BLE001  # foreign code, and no task of Trio's
                return error  # noqa: ASYNC104
            finally:
                self._called_at = None
        return None

    def _seconds(self) -> float:
        """How long the call that runs has taken so far."""
        since = self._called_at
        return 0.0 if since is None else monotonic() - since

    def _name_it(self, seconds: float) -> None:
        source = self._host.distribution(self._name)
        stack = stack_of(sys._current_frames().get(self._ident))
        self._host.note(Blocked(self._name, source, "monitor", seconds, stack))

    def _blocked(self, reason: str) -> HookBlocked:
        return HookBlocked(self._name, self._host.distribution(self._name), "monitor", reason)

    def _cut_off(self, error: BaseException) -> None:
        self._is_over = True
        self._host.cut_off(self._name, "monitor", error)
        self._scope.cancel()
        self.finish()


def _own(item: TaskEvent) -> TaskEvent:
    """The event for one observer alone: what it holds that can be changed is nobody else's."""
    event = item.event
    if isinstance(event, ToolCall):
        event = msgspec.structs.replace(event, input=_copied(event.input))
    elif isinstance(event, Raw):
        event = Raw(cast("dict[str, JSON]", _copied(event.data)))
    else:
        return item
    return msgspec.structs.replace(item, event=event)


def _copied(value: JSON) -> JSON:
    """The same with lists and dicts of its own; texts, which may be long, stay where they are."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):  # a parser may have given either, both are lists in JSON
        return [_copied(inner) for inner in value]
    return value


async def _watch(threads: list[_Thread]) -> None:
    while True:
        await trio.sleep(_LOOK_EVERY)
        for thread in threads:
            thread.look()
