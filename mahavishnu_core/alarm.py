"""The alarm: a thread that sends ``SIGALRM`` to the main thread once what that does is overdue.

A timer of the process would do so too, for two system calls each time that it is set; and it is the
program's own.
"""

from __future__ import annotations

# `signal` wraps this in enums: half a millisecond of every start, two microseconds of every call
import _signal  # type: ignore[import-not-found]
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from types import FrameType

_Ring: TypeAlias = "Callable[[FrameType | None], None]"
_AGAIN = 0.05
"""Seconds after which it rings again, where who has heard it was not the one."""
_LOST = 1.0
"""Seconds after which a signal that nobody has heard was lost, as while another handler was there."""
_LATE = 0.1
"""Seconds after which a signal is none of ours, when one of ours was heard since."""


class Alarm:
    """Calls ``ring`` in the main thread, with the frame that it is in, once ``due`` has come.

    ``due`` is in seconds of the monotonic clock; ``ring`` sets it anew.
    """

    def __init__(self, ring: _Ring) -> None:
        self._ring = ring
        self.due = inf
        self._looks_at = inf
        """When the thread looks at ``due`` next, unless it is woken."""
        self._thread: threading.Thread | None = None
        self._bell = threading.Lock()
        """Free when the thread is to look anew. A signal handler may free it in the midst of anything."""
        self._is_sent = False
        """Whether a signal is on its way, or was lost."""
        self._sent_at = -inf
        os.register_at_fork(after_in_child=self._forget_thread)

    def is_ours(self) -> bool:
        """Whether alarms come to us, in this thread; where nobody has claimed them they do from now on."""
        if threading.get_ident() != threading.main_thread().ident:
            return False
        handler = _signal.getsignal(_signal.SIGALRM)
        if handler == _signal.SIG_DFL:
            _signal.signal(_signal.SIGALRM, self._on_signal)
            return True
        return bool(handler == self._on_signal)

    def set(self, due: float) -> None:
        self.due = due
        if due < self._looks_at:
            self._looks_at = due
            self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="mahavishnu alarm", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread is to be had: it does without an alarm
                self._looks_at = -inf
        with suppress(RuntimeError):  # it is free already
            self._bell.release()

    def _look_on(self) -> None:
        while True:
            self._looks_at = due = self.due
            if self.due < due:  # whoever has set it thus has read the old `_looks_at`
                continue
            left = due - monotonic()
            if left <= 0:
                self._send()
            self._bell.acquire(timeout=-1 if left == inf else min(max(left, _AGAIN), threading.TIMEOUT_MAX))

    def _send(self) -> None:
        now = monotonic()
        is_on_its_way = self._is_sent and now < self._sent_at + _LOST
        if not is_on_its_way and _signal.getsignal(_signal.SIGALRM) == self._on_signal:
            self._is_sent, self._sent_at = True, now
            _signal.pthread_kill(threading.main_thread().ident, _signal.SIGALRM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_sent or monotonic() < self._sent_at + _LATE:
            self._is_sent = False
            self._ring(frame)
        else:  # the program's own: it means what it meant without us
            _signal.signal(number, _signal.SIG_DFL)
            _signal.raise_signal(number)

    def _forget_thread(self) -> None:
        self._thread, self._looks_at = None, inf
