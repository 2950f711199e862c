"""Plugin code that does not come back: named with its stack after a second, interrupted after two.

An alarm (``SIGALRM``) goes off at half the limit and at the limit. The first one only names, since on an
overloaded machine, or after a stop, a healthy call may stall for a second. The second one raises in the
plugin's own code. Both work in the main thread alone: elsewhere a call can only be left alone, and is. A
program that uses the alarm itself keeps it, and does without the watch.

What a plugin raises to end programs (``SystemExit`` and all else that is no ``Exception``) ends its own call.
"""

from __future__ import annotations

# `signal` wraps this in enums: half a millisecond of every start, two microseconds of every call
import _signal  # type: ignore[import-not-found]
import threading
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mahavishnu_core.errors import PluginError, leaves
from mahavishnu_core.exits import is_exit, parted

if TYPE_CHECKING:
    from types import FrameType

T = TypeVar("T")

_LATE = 0.1
"""Seconds after the last watch in which an alarm may still be one of ours, by way of another thread."""
_CALLERS = {f"mahavishnu_core.{name}" for name in ("watch", "host", "entry_points", "output", "observers")}
"""Modules that call plugins: what called them is not the plugin's doing."""


class Blocked(NamedTuple):
    """Plugin code that did not come back for a while, and where it was then, innermost last."""

    plugin: str
    source: str
    hook: str
    seconds: float
    stack: str

    def __str__(self) -> str:
        what = f"plugin {self.plugin!r} ({self.source})"
        return f"{what} had not come back from {self.hook} after {self.seconds:g} s"


class HookFailed(PluginError):
    """Plugin code raised something; ``reason`` says what, and the message whose it is too."""

    _what = "failed"

    def __init__(self, plugin: str, source: str, hook: str, reason: str) -> None:
        super().__init__(f"plugin {plugin!r} ({source}) {self._what} in {hook}: {reason}")
        self.reason = reason


class HookBlocked(HookFailed):
    """Plugin code was interrupted, or left behind, because it did not come back or gave no end of things."""

    _what = "was cut off"


class Watch:
    """Runs code of one plugin for one purpose: for at most ``limit`` seconds at a time."""

    __slots__ = ("_cut_off", "_named", "hook", "limit", "plugin", "source")

    def __init__(
        self,
        plugin: str,
        source: str,
        hook: str,
        limit: float,
        named: Callable[[Blocked], None],
        cut_off: Callable[[HookBlocked], None] | None = None,
    ) -> None:
        self.plugin, self.source, self.hook, self.limit = plugin, source, hook, limit
        self._named, self._cut_off = named, cut_off

    def run(self, call: Callable[[], T], *, is_step: bool = False) -> T:
        """What ``call`` returns, or the Exception that it raises.

        Raises HookBlocked where it had to be interrupted, and HookFailed in the place of what only a program
        may raise: of all that is no Exception, Trio's cancelling and what a signal raises pass as they are.

        ``is_step`` is for one step of a coroutine: where that goes on in spite of an interrupt, because a
        nursery waits for its children, it is not abandoned half-way.
        """
        try:
            return self._run_in_time(call, is_step) if _takes_alarms() else call()
        except Exception:
            raise
        except BaseException as error:  # noqa: ASYNC103  # Cancelled passes
            exits, others = parted(error)
            if exits is None:
                raise
            if others is None:
                raise self.failure(exits) from exits  # noqa: ASYNC104
            both = [others, self.failure(exits)]
            raise BaseExceptionGroup("raised at once", both) from error  # noqa: ASYNC104

    def _run_in_time(self, call: Callable[[], T], is_step: bool) -> T:
        global _innermost, _idle_since
        # one that is over is there where a signal has raised something as it ended
        outer = None if _innermost is None or _innermost.is_over else _innermost
        if outer is None and _signal.getitimer(_signal.ITIMER_REAL)[0]:  # the program's own timer
            return call()
        this, began, left = _Call(self), monotonic(), 0.0
        try:
            _innermost = this
            left, _ = _signal.setitimer(_signal.ITIMER_REAL, this.step)
            try:
                answer = call()
            finally:
                this.is_over = True
        except BaseException as error:
            this.is_over = True  # the interrupt may have come before it was said; the next is a step away
            if not this.has_ended_by(error):
                raise
            raise self._interrupted() from error  # noqa: ASYNC104  # Cancelled has passed above
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _innermost, _idle_since = outer, monotonic()
            if outer is not None:  # it has its own limit, and has used a part of it here
                _signal.setitimer(_signal.ITIMER_REAL, max(left - (_idle_since - began), 0.001))
        if this.is_interrupted:  # and has swallowed it
            blocked = self._interrupted()
            if not is_step:
                raise blocked
        return answer

    def name(self, frame: FrameType | None) -> None:
        self._named(Blocked(self.plugin, self.source, self.hook, self.limit / 2, stack_of(frame)))

    def failure(self, error: BaseException) -> HookFailed:
        """What the plugin raised, as its own."""
        return HookFailed(self.plugin, self.source, self.hook, explain(error))

    def give_up(self, reason: str) -> HookBlocked:
        """Cut the plugin off here; what to raise for it."""
        blocked = HookBlocked(self.plugin, self.source, self.hook, reason)
        if self._cut_off is not None:
            self._cut_off(blocked)
        return blocked

    def _interrupted(self) -> HookBlocked:
        return self.give_up(f"it did not come back for {self.limit:g} s")


class WatchedAwaitable:
    """An awaitable of a plugin whose every step, from one await to the next, is watched."""

    def __init__(self, awaitable: Awaitable[object], watch: Watch) -> None:
        self._awaitable, self._watch = awaitable, watch

    def __await__(self) -> Generator[object, object, object]:
        run = self._watch.run
        steps = run(self._awaitable.__await__)
        step: Callable[[], object] = partial(next, steps)
        while True:
            try:
                asked = run(step, is_step=True)
            except StopIteration as end:
                return end.value
            try:
                told = yield asked
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as error:  # noqa: ASYNC103, BLE001  # it is for the plugin's code
                step = partial(steps.throw, error)
            else:
                step = partial(steps.send, told)

    def close(self) -> None:
        """Give up what was not awaited: a coroutine would warn."""
        if isinstance(self._awaitable, CoroutineType):
            self._watch.run(self._awaitable.close)


def stack_of(frame: FrameType | None) -> str:
    """Where plugin code is, as a traceback shows it: from where we called it to its innermost frame."""
    import traceback

    frames: list[tuple[FrameType, int]] = []
    while frame is not None and frame.f_globals.get("__name__") not in _CALLERS:
        if not str(frame.f_globals.get("__name__")).startswith("importlib"):
            frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return "".join(traceback.StackSummary.extract(reversed(frames)).format()).rstrip()


def explain(error: BaseException) -> str:
    """What was raised, in one line; of a group what is in it."""
    if isinstance(error, HookFailed):
        return error.reason
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(explain, leaves(error))))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


class _Interrupt(BaseException):
    """Raised in the plugin's code. No Exception: a loop that catches those and tries again would go on."""


class _Call:
    """One call under watch. Its alarm goes off once, and is set anew for a whole step each time.

    So a stop of the whole process, in which several alarms would become one, brings no interrupt closer.
    """

    __slots__ = ("_alarms", "_watch", "is_over", "step")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._alarms = 0
        self.step = watch.limit / 2
        self.is_over = False
        """Whether an alarm would hit our own code instead of the plugin's."""

    @property
    def is_interrupted(self) -> bool:
        return self._alarms > 1

    def alarm(self, frame: FrameType | None) -> None:
        if self.is_over:
            return
        self._alarms += 1
        _signal.setitimer(_signal.ITIMER_REAL, self.step)
        if self.is_interrupted:
            raise _Interrupt
        self._watch.name(frame)

    def has_ended_by(self, error: BaseException) -> bool:
        """Whether an error comes of an interrupt: in this call, or in one whose nursery held it back."""
        if isinstance(error, BaseExceptionGroup):
            return error.subgroup(_Interrupt) is not None
        is_plugins = isinstance(error, Exception) or is_exit(error)
        return isinstance(error, _Interrupt) or (self.is_interrupted and is_plugins)


_innermost: _Call | None = None
_idle_since = monotonic()


def _takes_alarms() -> bool:
    """Whether alarms come to us, in this thread; where nobody has claimed them they do from now on."""
    if threading.get_ident() != threading.main_thread().ident:
        return False
    handler = _signal.getsignal(_signal.SIGALRM)
    if handler == _signal.SIG_DFL:
        _signal.signal(_signal.SIGALRM, _on_alarm)
        return True
    return handler is _on_alarm


def _on_alarm(number: int, frame: FrameType | None) -> None:
    if _innermost is not None:
        _innermost.alarm(frame)
    elif monotonic() - _idle_since > _LATE:  # the program's own: it means what it meant without us
        _signal.signal(number, _signal.SIG_DFL)
        _signal.raise_signal(number)
