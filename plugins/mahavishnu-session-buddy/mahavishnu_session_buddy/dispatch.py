"""An engine's part in the sending: a result goes into the outbox, and a relay is there that sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.nesting import is_in_task
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.relay_process import Relay, start_relay

if TYPE_CHECKING:
    from mahavishnu_core import Engine, Task, Worker, WorkerResult
    from mahavishnu_core.models import LogBatch
    from mahavishnu_session_buddy.letter import Letter

_GATHER_SECONDS = 5.0
"""From a result to the relay that sends it, and those that have come since."""
_LAST_SECONDS = 3.0
"""For a relay to send the rest, where it would be ended after that."""


async def post(engine: Engine, worker: Worker, task: Task, result: WorkerResult) -> None:
    """Have a result sent by and by. It is safe in the outbox when this returns, which waits for nobody.

    Its letter is made when it is sent, unless its prompt holds a secret, which another sender may not know.
    """
    dispatch = await engine.hold("session-buddy", partial(open_dispatch, engine))
    secrets = engine.app.secrets
    letter = None
    if any(secret in task.prompt for secret in secrets):
        from mahavishnu_session_buddy.letter import compose

        letter = await trio.to_thread.run_sync(compose, worker, task, result, secrets)
    dispatch.post(task.task_id, letter)


async def post_log(engine: Engine, worker: Worker, batch: LogBatch) -> None:
    """The same for lines of a log, in as many letters as they need."""
    dispatch = await engine.hold("session-buddy", partial(open_dispatch, engine))
    from mahavishnu_session_buddy.letter import compose_log

    letters = await trio.to_thread.run_sync(compose_log, worker, batch, engine.app.secrets)
    for name, letter in letters.items():
        dispatch.post(name, letter)


@asynccontextmanager
async def open_dispatch(engine: Engine) -> AsyncIterator[Dispatch]:
    """The engine's part, for as long as it lives; what it has not sent then, a relay sends afterwards."""
    outbox = Outbox.of(engine.state_dir)
    outbox.prepare()
    dispatch = Dispatch(engine, outbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatch.serve)  # noqa: ASYNC113  # what is posted before it runs waits for it
        try:
            yield dispatch
        finally:
            if is_in_task(engine.app.environ):
                await dispatch.leave_task()  # noqa: ASYNC102  # it is shielded there, and has its time
            else:
                dispatch.leave()
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Dispatch:
    """Sees to it that a relay runs while there is something to send and it is time to try."""

    _engine: Engine
    _outbox: Outbox
    _posted: trio.Event = attrs.field(factory=trio.Event)
    _relay: Relay | None = None

    def post(self, name: str, letter: Letter | None = None) -> None:
        """Have it sent; without a letter it is made from the state directory then."""
        self._outbox.put(name, letter)
        self._posted.set()

    async def serve(self) -> None:
        while True:
            await self._posted.wait()
            self._posted = trio.Event()
            before = self._outbox.failure()
            # not at once: it would take processor time from a run that is about to end
            await trio.sleep(max(_GATHER_SECONDS, before.seconds_left if before else 0))
            self._start()
            status = await self._relay.ended() if self._relay else 0
            if status and self._outbox.failure() == before:  # it could not say itself what was wrong
                self._note(f"the relay ended with status {status}", "see session-buddy/relay.log")
            if self._outbox.waiting():
                self._posted.set()

    def leave(self) -> None:
        """Have a relay send the rest, unless it is too early to try again. Waits for nothing."""
        failure = self._outbox.failure()
        is_due = failure is None or not failure.seconds_left
        if (self._relay is None or not self._relay.is_running) and is_due and self._outbox.waiting():
            self._start()
        if self._relay is not None:
            self._relay.let_go()

    async def leave_task(self) -> None:
        """The same in a task, with which a relay would be ended: none is begun, a running one has some time.

        What it leaves is sent by whoever ends the task, or by the next engine.
        """
        with trio.move_on_after(_LAST_SECONDS, shield=True):
            if self._relay is not None:
                self._relay.let_go()
                await self._relay.ended()

    def _start(self) -> None:
        """No fault in this is one of the run: it is noted, and what waits is safe."""
        self._relay = None
        try:
            self._relay = start_relay(self._engine)
        except OSError as error:
            self._note(f"the relay cannot be started ({error})", "mend that, or: 'mahavishnu results sync'")

    def _note(self, reason: str, advice: str) -> None:
        with suppress(OSError):  # a full disk, say: the outbox tells what waits
            self._outbox.note_failure(reason, advice)
