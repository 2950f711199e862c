"""One task in the hands of an engine: launched or found again, followed to its end, settled and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_core.keeper import output as kept_output
from mahavishnu_core.models import Cause, Exit, Task, Worker, WorkerResult, WorkerStatus, utc_now
from mahavishnu_core.output import TaskOutput, open_output
from mahavishnu_core.pieces import stderr_size
from mahavishnu_core.rate_limits import RateLimited
from mahavishnu_core.verdict import RATE_LIMITED, result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mahavishnu_core.engine import Engine
    from mahavishnu_core.hookspecs import Run
    from mahavishnu_core.verdict import Seen

LOOK_SOONEST, LOOK_LATEST = 0.02, 0.25
"""Seconds between looks at a quiet output file, longer and longer: a file gives no event when it grows."""
RESULT_GRACE = 10.0
"""Seconds without an event after which a command that has given its result is ended.

claude 2.1.197 itself waits 5 s for its background commands after its result.
"""
PERMISSION_GRACE = 1.0
"""Seconds without an event after which a request for a permission is one that nobody is there to answer."""
_GRACES: Mapping[Cause, float] = {"after_result": RESULT_GRACE, "permission": PERMISSION_GRACE}
TERM_GRACE = 5.0
"""Seconds between TERM and KILL."""
_LAST_WAIT = 15.0
"""Seconds beyond the grace in which a place reports the end that it was asked for."""


@attrs.define(eq=False)
class TaskRun:
    """A task that this engine carries out, or follows for another one."""

    engine: Engine
    worker: Worker
    task: Task
    status: WorkerStatus
    output: TaskOutput
    result: WorkerResult | None = None
    started_at: float | None = None
    """When the command began, by Trio's clock; None until then."""
    _run: Run | None = None
    _is_cancelled: bool = False
    _asked: Cause | None = None
    _last_event_at: float = 0.0
    _waiting: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _closed: trio.Event = attrs.field(factory=trio.Event)
    _seen: Seen | None = None

    async def carry_out(
        self, launch: Callable[[], Awaitable[Run]], on_ended: Callable[[], None]
    ) -> WorkerResult:
        """See a task through. When the caller is cancelled, the command's family is ended first.

        ``on_ended`` is called as soon as the command has ended, so that the next can run while this one's
        result is being kept.
        """
        try:
            ended = await self._run_command(launch)
            return await self._settle(ended, on_ended)
        except trio.Cancelled:
            with trio.move_on_after(TERM_GRACE + _LAST_WAIT, shield=True):
                await self.cancel()
                if self.result is None:
                    await self._settle(await self._follow())
            raise
        except Exception:
            with trio.move_on_after(TERM_GRACE + _LAST_WAIT, shield=True):
                await self.cancel()  # whatever went wrong here, nothing is left running for it
            raise
        finally:
            self.close()

    async def follow(self, run: Run) -> WorkerResult:
        """Read along with a task that goes on without us, until it has ended."""
        self._run = run
        try:
            if self._is_cancelled:  # while the command was being found
                await run.end("cancelled", TERM_GRACE)
            await run.started()
            return await self._settle(await self._follow())
        finally:
            self.close()

    async def closed(self) -> None:
        """Return when this engine has nothing to do with the task any more."""
        await self._closed.wait()

    def close(self) -> None:
        self.output.close()
        self._closed.set()

    async def settle(self, ended: Exit) -> WorkerResult:
        """The result of a task whose command has ended, from what lies on disk."""
        try:
            return await self._settle(ended)
        finally:
            self.close()

    async def fail(self, error: str) -> WorkerResult:
        """The result of a task that could not be launched."""
        return await self.settle(Exit(error=error, ended=utc_now()))

    async def cancel(self, grace_seconds: float = TERM_GRACE) -> None:
        """End the command's family; ``carry_out`` returns a cancelled result, unless a real one was first."""
        self._is_cancelled = True
        self.engine.record("task_cancelled", self.task, grace_seconds=grace_seconds)
        if self._run is None:
            self._waiting.cancel()
        else:
            await self._run.end("cancelled", grace_seconds)

    async def _run_command(self, launch: Callable[[], Awaitable[Run]]) -> Exit:
        with self._waiting:
            try:
                self._run = await launch()
            except RateLimited as error:
                self.output.tally.retry_at = error.retry_at
                return Exit(error=str(error), reason=RATE_LIMITED, ended=utc_now())
            except MahavishnuError as error:
                return Exit(error=str(error), ended=utc_now())
        if self._run is None:
            return _never_started()
        if self._is_cancelled:
            await self._run.end("cancelled", TERM_GRACE)
        await self._run.started()
        self.started_at = trio.current_time()
        self.engine.record("task_started", self.task)
        return await self._follow()

    async def _follow(self) -> Exit:
        """Read until the command has ended and its output is read to the end."""
        if self._run is None:
            return _never_started()
        self.status = WorkerStatus.RUNNING if self.worker.type.is_plain else WorkerStatus.STARTING
        self._last_event_at = trio.current_time()
        ended: Exit | None = None
        pause, looked_at = LOOK_SOONEST, self._last_event_at
        while True:
            is_new, now = self._read(), trio.current_time()
            if now - looked_at > kept_output.STOPPED:
                self._last_event_at = now
            looked_at = now
            if not is_new and ended is not None:
                return ended
            # after a look: whoever has stopped us for a while has not silenced the agent
            await self._end_if_due()
            if is_new:
                pause = LOOK_SOONEST
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_after(pause):
                    ended = await self._run.wait()
                pause = min(pause * 1.5, LOOK_LATEST)

    def _read(self) -> bool:
        before = self.output.tally.events
        is_new = self.output.read()
        if self.output.tally.events != before:
            self.status = WorkerStatus.RUNNING
            self._last_event_at = trio.current_time()
        return is_new

    async def _end_if_due(self) -> None:
        cause = self._due()
        if cause is not None and self._asked is None and self._run is not None:
            self._asked = cause
            self.engine.record("limit_reached", self.task, cause=cause)
            await self._run.end(cause, TERM_GRACE)

    def _due(self) -> Cause | None:
        """The limit that is reached. The keeper knows the wall limit too, for when no engine follows."""
        now, silence = trio.current_time(), trio.current_time() - self._last_event_at
        limit = self.task.timeout_seconds
        if self.started_at is not None and limit is not None and now >= self.started_at + limit:
            return "wall"
        last_word = self.output.tally.last_word
        if last_word is not None and silence >= _GRACES[last_word]:
            return last_word
        idle = self.worker.type.idle_seconds
        if idle is not None and silence >= idle and not self.task.is_standing:
            return "idle"
        written = max(self.output.size, stderr_size(self.task))
        return "output_limit" if written > kept_output.OUTPUT_LIMIT else None

    async def _settle(self, ended: Exit, on_read: Callable[[], None] = lambda: None) -> WorkerResult:
        """``on_read`` is called as soon as all is known that the beginning of other tasks depends on."""
        while self.output.read(ended):  # noqa: ASYNC110  # it reads, it does not wait
            await trio.lowlevel.checkpoint()
        if ended.cause is None and self.output.size > kept_output.OUTPUT_LIMIT:  # it was faster than we
            ended = attrs.evolve(ended, cause="output_limit")
        if self._seen is None:  # we may have been cancelled between this and the verdict
            self._seen = self.output.finish(ended)
            self._heed_limit(self._seen)
        on_read()
        async with self.engine.settling:
            result = result_of(self.worker, self.task, self._seen, self.engine.app.secrets)
            settled = self.engine.settle(self.task, result)
            self.result = settled or result
            self.status = self.result.status
        self.engine.record(
            "task_ended",
            self.task,
            status=self.status.value,
            reason=self.result.metadata.get("reason"),
            exit_code=self.result.exit_code,
            seconds=self.result.duration_seconds,
            error=self.result.error,
        )
        if settled is not None:
            await self.engine.store(self.worker, self.task, settled)
        return self.result

    def _heed_limit(self, seen: Seen) -> None:
        """Have further tasks of its type wait, or begin again, as this one found its vendor."""
        if self._run is None or not seen.tally.finished:  # what ended long ago tells nothing of now
            return
        last, kind = seen.tally.finished[-1], self.worker.type.name
        if last.reason == RATE_LIMITED:
            self.engine.limits.met(kind, seen.tally.retry_at)
        elif last.success:
            self.engine.limits.passed(kind)


def take_up(engine: Engine, worker: Worker, task: Task) -> TaskRun:
    """A task as this engine begins to deal with it. Raises PluginError without its agent's plugin."""
    return TaskRun(engine, worker, task, engine.app.state.status(task), open_output(engine, worker, task))


def _never_started() -> Exit:
    return Exit(cause="cancelled", error="cancelled before it was started", ended=utc_now())


def checked_prompt(prompt: str) -> str:
    """A prompt that can be given to a program. Raises UsageError."""
    if not prompt.strip():
        raise UsageError("the prompt is empty: say what the worker is to do")
    try:
        prompt.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError("the prompt holds half a character (a lone surrogate): mend the text") from None
    return prompt
