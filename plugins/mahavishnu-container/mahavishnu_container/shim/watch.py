"""The watch over one command: from its start to the end of its family, and what there is to say of it."""

from __future__ import annotations

import os
import select
import signal
import time

from mahavishnu_container.shim.api import HURRIED, DaemonError
from mahavishnu_container.shim.start import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mahavishnu_container.shim.api import Daemon
    from mahavishnu_container.shim.box import Pipes
    from mahavishnu_container.shim.progress import ProgressSocket
    from mahavishnu_container.shim.start import Starting

STRAY_DRAIN = 1.0
"""Seconds in which what outlives a command may still end by itself."""
STRAY_GRACE = 1.0
"""Seconds between TERM and KILL for those that did not."""
OBEDIENCE = 3.0
"""Seconds after KILL in which the family must be gone."""
_ANSWERED_WITHIN = 5.0
"""Seconds in which a question is answered, on however busy a machine."""
_BIRTH = 5.0
"""Seconds after which it is asked whether a command is there that has not shown up, and again."""
_LOOK = 0.02
_NOBODY = b"nobody is there"
_ROLL_CALL = f"""
for entry in /proc/[0-9]*; do
    pid=${{entry#/proc/}}
    [ "$pid" = $$ ] || ! kill -0 "$pid" 2>/dev/null || exit
done
echo {_NOBODY.decode()}
"""
"""Says so when nothing of a command's user is in its container."""
_DESERTED = "what watched over it in its container was killed, and it with that"
_LAG = 0.5
"""Seconds in which a daemon notices that a container is gone, and killed processes are."""
_TOGETHER = 0.2
"""Seconds in which the pipes of two end that were killed together."""
_LAST_NEWS = 1.0
"""Seconds for the last reports to be read and written down."""
_MOST_NAMES = 50
_MOST_ANSWERS = 1 << 16
"""Lines: more than there are processes in any container."""
_MISSING = "missing"
"""The word for a command whose program is not there."""


class Ended(dict[str, "str | int | list[str] | None"]):
    """What ``shim.json`` is to say: fields of ``mahavishnu_core.models.Exit``."""


class Watch:
    """Hears from the container by its pipes and from the keeper by signals, and does what is due."""

    def __init__(
        self, daemon: Daemon, command: Command, pipes: Pipes, progress: ProgressSocket, wakeup: int
    ) -> None:
        self._daemon = daemon
        self._command = command
        self._execution = ""
        self._pipes = pipes
        self._progress = progress
        self._wakeup = wakeup
        self._open = {pipes.report: b"", pipes.reply: b""}
        """The pipes that somebody may still write to, with what has come of an unfinished line."""
        self._exit: str | None = None
        """The word about how the command ended."""
        self._answers: list[str] = []
        self._has_shown_up = False
        self._is_mute = False
        self._terms = 0
        """How often the keeper has asked for the end."""
        self._look_again_at = time.monotonic() + _BIRTH
        self._killed_at: float | None = None

    @property
    def _has_left(self) -> bool:
        """Whether the command itself is gone, whatever it left."""
        return self._exit is not None or self._pipes.report not in self._open

    @property
    def _was_there(self) -> bool:
        """Whether the command has begun, for all that came by its pipes."""
        return self._has_shown_up or self._has_left or self._is_alone

    @property
    def _is_alone(self) -> bool:
        """Whether nobody in the container watches over the command any more, or answers."""
        return self._is_mute or self._pipes.reply not in self._open

    def run(self, starting: Starting | None) -> Ended:
        """Return when the command and its family are gone, or nothing more can be done about them.

        Raises DaemonError where it cannot be started.
        """
        self._execution = self._started(starting)
        self._pump(lambda: self._has_left or self._is_alone or self._is_defied() or self._is_stillborn())
        self._pump(lambda: self._has_left, _TOGETHER)
        seen = self._how_it_ended() if self._has_left else Ended()
        if not self._end_family(seen):
            self._use_force(seen)
        self._say("leave")
        self._pump(lambda: self._is_alone, OBEDIENCE)
        self._pump(lambda: not self._progress.has_news(), _LAST_NEWS)
        return seen

    def _started(self, starting: Starting | None) -> str:
        """The daemon's id of the command, once that runs. Raises DaemonError."""
        try:
            if starting is not None:
                return self._seen_started(starting)
        except DaemonError as error:
            if error.status == 0:  # it may run: never start it twice
                raise
        return self._seen_started(self._daemon.start_command(self._command))

    def _seen_started(self, starting: Starting) -> str:
        """Wait for the command itself or for what the daemon says: that may hang while the command runs."""

        def is_known() -> bool:
            return self._was_there or self._daemon.has_answered(starting)

        self._pump(lambda: is_known() or self._terms > 0, self._daemon.patience, _LOOK)
        self._pump(is_known, HURRIED if self._terms else 0, _LOOK)
        if not self._was_there:
            self._daemon.require_started(starting)
        return starting.execution

    def _is_stillborn(self) -> bool:
        """Whether what was started is gone without a word: its pipes tell of nobody who never came."""
        if self._has_shown_up or time.monotonic() < self._look_again_at:
            return False
        self._look_again_at = time.monotonic() + _BIRTH
        try:
            # Podman 4.3 takes what it has once started for there for ever
            is_there = self._daemon.is_executing(self._execution) and not self._is_deserted()
        except DaemonError:
            return False  # ask again later
        if not is_there:
            self._open.clear()
        return not is_there

    def _is_deserted(self) -> bool:
        """Whether nothing of the command's user is in its container. Raises DaemonError."""
        order = Command(["/bin/sh", "-c", _ROLL_CALL], self._command.user, "/", [])
        return _NOBODY in self._daemon.output_of(order)

    # --- how it ended

    def _how_it_ended(self) -> Ended:
        if self._exit == _MISSING:
            return Ended(error="its program is not in the image, or cannot be run there")
        code = _exit_code(self._exit)
        if code is None and self._killed_at is not None:
            return Ended(exit_code=None, signal="SIGKILL")
        if code is None:  # it was killed together with the shell that ran it
            code = self._code_of_daemon()
        if code in (None, 128 + signal.SIGKILL) and self._count("oom"):
            text = "ended for want of memory: it needs more than the worker type's 'memory' option gives it"
            return Ended(exit_code=code, error=text, reason="oom")
        return Ended(exit_code=code)

    def _code_of_daemon(self) -> int | None:
        try:
            deadline = time.monotonic() + OBEDIENCE
            while self._daemon.is_executing(self._execution) and time.monotonic() < deadline:
                self._wait(_LOOK)
            return self._daemon.exit_code(self._execution)
        except DaemonError:
            return None

    # --- the end of the family

    def _end_family(self, seen: Ended) -> bool:
        """End what the command left running; False where that cannot be done from within."""
        if self._is_alone or not self._has_left:
            return False
        if self._terms == 0 and not self._is_gone_within(STRAY_DRAIN):
            seen["strays"] = self._names()
            self._say("TERM", "CONT")
            if not self._is_gone_within(STRAY_GRACE):
                self._kill()
        self._pump(lambda: self._is_gone() or self._is_alone or self._is_defied(), pause=_LOOK)
        return not self._is_alone and self._is_gone()

    def _is_gone_within(self, seconds: float) -> bool:
        return self._pump(lambda: self._is_alone or self._is_gone() or self._terms > 0, seconds, _LOOK)

    def _is_gone(self) -> bool:
        return self._count("count") == 0

    def _is_defied(self) -> bool:
        return self._killed_at is not None and time.monotonic() > self._killed_at + OBEDIENCE

    def _use_force(self, seen: Ended) -> None:
        """Nobody in the container obeys: ask its daemon."""
        had_left = self._has_left
        try:
            why = self._forced(seen)
        except DaemonError as error:
            why = f"{error}; what it left in the container may still run"
            seen["survivors"] = [f"container {self._daemon.container}"]
        if why == _DESERTED and had_left:
            return  # it ended what watched over it together with itself
        os.write(2, f"mahavishnu: {why}\n".encode())
        if self._terms == 0 and _exit_code(self._exit) is None:
            seen.update(exit_code=None, error=why, reason="container")

    def _forced(self, seen: Ended) -> str:
        """Have all that runs in the container ended from outside; what there was to do. Raises DaemonError.

        From inside one could be stopped on the way there, by those that are to be ended. Docker 20.10 waits
        for ever for a command that was stopped before it began, and does not even remove its container.
        """
        until = time.monotonic() + _LAG
        while time.monotonic() < until:
            if not self._daemon.is_running():
                return "its container stopped while it ran"
            if self._daemon.is_deserted():
                return _DESERTED
            self._wait(_LOOK)
        try:
            self._daemon.restart()
        except DaemonError as error:
            if error.status == 0:
                raise
            self._daemon.remove()
            seen["warnings"] = ["container_removed"]
            return f"what ran in its container could not be ended ({error}), so the container was removed"
        seen["warnings"] = ["container_restarted"]
        return "what ran in its container could not be ended otherwise, so the container was started again"

    def _kill(self) -> None:
        self._killed_at = self._killed_at or time.monotonic()
        self._daemon.patience = HURRIED
        self._say("KILL")

    # --- talking

    def _count(self, question: str) -> int | None:
        """The answer to a question for a number, None where nobody answers."""
        answer = self._ask(question, question)[-1:]
        return int(answer[0]) if answer and answer[0].isdecimal() else None

    def _names(self) -> list[str]:
        """The family, a ``pid name`` each."""
        return self._ask("list", "stray")[:_MOST_NAMES]

    def _ask(self, question: str, kind: str) -> list[str]:
        """What is said of a kind until the answer to a question is complete."""
        self._answers.clear()
        self._say(question)
        has_answer = self._pump(
            lambda: self._is_alone or any(map(_tells(question), self._answers)), _ANSWERED_WITHIN
        )
        self._is_mute = self._is_mute or not has_answer
        return [line.removeprefix(f"{kind} ") for line in self._answers if line.startswith(f"{kind} ")]

    def _say(self, *words: str) -> None:
        if self._is_alone:
            return
        try:
            os.write(self._pipes.control, "".join(f"{word}\n" for word in words).encode())
        except BlockingIOError:  # somebody has filled the pipe, and nobody reads it: as good as no answer
            return

    def _pump(self, is_done: Callable[[], bool], seconds: float = 1e9, pause: float = 60.0) -> bool:
        """Take in what comes until something holds, for so long at most; whether it holds."""
        deadline = time.monotonic() + seconds
        while not (done := is_done()):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait(min(left, pause, self._until_defied()))
        return done

    def _until_defied(self) -> float:
        if self._killed_at is None:
            return _BIRTH
        return max(_LOOK, self._killed_at + OBEDIENCE - time.monotonic())

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        for descriptor in (*self._open, *self._progress.files, self._wakeup):
            poll.register(descriptor, select.POLLIN)
        is_written = self._progress.write()
        ready = {descriptor for descriptor, _ in poll.poll(1000 * (seconds if is_written else _LOOK))}
        for descriptor in ready & self._open.keys():
            self._hear(descriptor)
        if self._wakeup in ready:
            self._obey(os.read(self._wakeup, 64))
        self._progress.attend(ready)

    def _obey(self, signals: bytes) -> None:
        """The keeper asks for the end: gently first, then at once."""
        self._terms += len(signals)
        if signal.SIGTERM in signals:
            self._say("TERM", "CONT")
        if signal.SIGQUIT in signals:
            self._kill()

    def _hear(self, descriptor: int) -> None:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            del self._open[descriptor]
            return
        *lines, self._open[descriptor] = (self._open[descriptor] + chunk)[-(1 << 16) :].split(b"\n")
        for line in lines:
            text = line[:200].decode("utf-8", "replace")
            if descriptor == self._pipes.reply:
                self._answers.append(text)
                self._has_shown_up = True
            elif text == _MISSING or _exit_code(text) is not None:
                self._exit = text
        del self._answers[:-_MOST_ANSWERS]  # what nobody asks for may be anybody's


def _tells(question: str) -> Callable[[str], bool]:
    """Whether a line completes the answer to a question: its word comes first."""
    return lambda line: line.startswith(f"{question} ")


def _exit_code(word: str | None) -> int | None:
    """``exit 3``: the number, None where the command did not live to say one."""
    said, _, number = (word or "").partition(" ")
    return int(number) if said == "exit" and number.isdecimal() and len(number) < 4 else None
