"""Sends what waits: marked before it is sent, looked up afterwards, in batches that are written to disk."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.errors import StateDirError, UnknownTask, UnknownWorker
from mahavishnu_core.models import Backlog, Synced
from mahavishnu_session_buddy.backlog import STORAGE, backlog_of, is_known
from mahavishnu_session_buddy.connection import CALL_PATIENCE, require_listener
from mahavishnu_session_buddy.errors import MirrorError, Refused, Unreachable
from mahavishnu_session_buddy.letter import Letter, compose
from mahavishnu_session_buddy.names import is_log, token_of
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.server import Server, converse
from mahavishnu_session_buddy.target import Target, target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine
    from mahavishnu_core.app import App

BATCH = 20
"""Letters between two requests to write to the disk: as many are sent again when the server dies."""
_LOOK_SECONDS, _LOOK_LATEST = 0.2, 5.0
_LAST_LOOK_AT_A_STARTED_ONE = 10.0
"""Seconds in which a server that we start has ended after its input has."""
_NOT_FOUND = "the server says that it has stored, and does not find it again"
Told = Callable[[int, int], None]


async def sync(engine: Engine, *, verify: bool, told: Told) -> Sequence[Synced]:
    """Send all that waits, now; with ``verify`` also what the server has lost since."""
    outbox = Outbox.of(engine.state_dir)
    outbox.prepare()
    delivery = Delivery(engine, outbox, told)
    failure: MirrorError | None = None
    try:
        await _when_alone(engine, outbox, partial(delivery.carry_out, verify=verify))
    except MirrorError as error:
        failure = error
    return [delivery.synced(failure)]


async def deliver(app: App) -> bool:
    """Send all that waits, as the relay that has the lock; whether all has arrived.

    On SIGTERM it breaks off, and takes along a server that it has started.
    """
    async with WorkerManager(app) as manager, trio.open_nursery() as nursery:
        nursery.start_soon(_heed_the_end, nursery.cancel_scope)
        has_arrived = False
        with suppress(MirrorError):  # it is noted
            await Delivery(manager.engine, Outbox.of(manager.engine.state_dir)).carry_out()
            has_arrived = True
        nursery.cancel_scope.cancel()
    return has_arrived


async def _heed_the_end(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _when_alone(engine: Engine, outbox: Outbox, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work when nobody else sends. Raises MirrorError where another does not come to an end."""
    with trio.move_on_after(CALL_PATIENCE + 30) as waiting:
        is_told = False
        while True:
            with outbox.try_lock() as is_mine:
                if is_mine:
                    waiting.deadline = math.inf
                    return await work()
            if not is_told:
                engine.notify("waiting for another program that sends to session-buddy")
                is_told = True
            await trio.sleep(_LOOK_SECONDS)
    raise MirrorError("another program is sending and does not come to an end", "try again later")


@attrs.define(eq=False)
class Delivery:
    """One sender at work; it holds the lock of the outbox."""

    _engine: Engine
    _outbox: Outbox
    _told: Told = lambda _done, _total: None
    _sent: list[str] = attrs.field(factory=list)
    _lost: list[str] = attrs.field(factory=list)
    _under_way: str | None = None

    async def carry_out(self, *, verify: bool = False) -> None:
        """Raises MirrorError when something could not be sent; noted as long as something waits."""
        failure: MirrorError | None = None
        try:
            if verify or self._outbox.waiting():
                talk = self._verify if verify else self._send_all
                await converse(_target(self._engine), self._outbox.home, talk)
        except MirrorError as error:
            failure = error
        except Exception as error:
            self._note(f"internal error ({type(error).__name__}: {error})", "report it")
            raise
        finally:
            if _target(self._engine).command:
                self._end()  # the server that was started is gone, whoever was cancelled
        if failure is None:
            self._outbox.note_success()
            return
        if self._under_way is not None and await self._is_gone():
            self._end()
        self._note(failure.reason, failure.advice)
        raise failure

    def synced(self, failure: MirrorError | None) -> Synced:
        """What came of it, and why not all has arrived."""
        target = _target(self._engine)
        backlog = backlog_of(self._outbox, target)
        if failure is not None:
            is_failing = is_known(self._outbox, target)
            backlog = Backlog(STORAGE, backlog.count, failure.reason, failure.advice, is_failing)
        known = {*self._sent, *self._outbox.waiting()}  # not what is in nobody's hands any more
        lost = tuple(name for name in self._lost if name in known)
        return Synced(sent=tuple(self._sent), backlog=backlog, lost=lost)

    def _begin(self, name: str) -> None:
        self._outbox.mark_begun(name)
        self._under_way = name

    def _end(self) -> None:
        """The sending under way is over, which whoever is cancelled, killed or cut off in it does not see."""
        if self._under_way is not None:
            self._outbox.mark_over(self._under_way)
            self._under_way = None

    async def _is_gone(self) -> bool:
        """Whether nobody listens any more who could still be storing."""
        try:
            await require_listener(_target(self._engine).url)
        except Unreachable:
            return True
        return False

    def _note(self, reason: str, advice: str) -> None:
        if self._outbox.waiting():
            self._outbox.note_failure(reason, advice)

    async def _verify(self, server: Server) -> None:
        if not server.can_look:
            raise MirrorError(
                "the server has no tool to look things up with", "leave '--verify' out: it cannot be asked"
            )
        names = [name for name in self._outbox.sent() if not is_log(name)]  # nobody has logs but the server
        for start in range(0, len(names), BATCH):
            batch = {token_of(name): name for name in names[start : start + BATCH]}
            found = await server.find(batch)
            for token, name in batch.items():
                if token not in found:
                    self._outbox.mark_lost(name)
                    self._lost.append(name)
            self._told(min(start + BATCH, len(names)), len(names))
        await self._send_all(server)

    async def _send_all(self, server: Server) -> None:
        names = self._outbox.waiting()
        refusal: Refused | None = None
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            refused = await self._send(server, batch)
            refusal = refused or refusal
            if refused and not set(batch) & set(self._sent):
                break  # it takes nothing: no need to try all
            self._told(min(start + BATCH, len(names)), len(names))
        if refusal:
            raise refusal

    async def _send(self, server: Server, names: list[str]) -> Refused | None:
        """One batch; why something of it has not arrived. Raises MirrorError."""
        refused: dict[str, Refused] = {}
        letters: dict[str, Letter] = {}
        for name in names:
            try:
                letter = self._letter_of(name)
            except Exception as error:  # noqa: BLE001  # a file that is none of ours keeps no other from arriving
                refused[name] = Refused(
                    f"the letter for {name} cannot be made ({type(error).__name__}: {error})"
                )
            else:
                letters |= {name: letter} if letter else {}
        there = await self._look_for_tried(server, letters)
        for name, letter in letters.items():
            if letter.token not in there:
                self._begin(name)
                try:
                    await server.store(letter)
                except Refused as error:
                    refused[name] = error
                self._end()
        await server.flush()
        arrived = await self._arrived(server, letters, refused.keys())
        for name in arrived:
            self._outbox.mark_sent(name)
            self._sent.append(name)
        missing = [name for name in (*letters, *refused) if name not in arrived]
        return refused.get(missing[0], Refused(_NOT_FOUND)) if missing else None

    async def _arrived(
        self, server: Server, letters: Mapping[str, Letter], refused: Collection[str]
    ) -> list[str]:
        if not server.can_look:
            return [name for name in letters if name not in refused]
        found = await server.find(letter.token for letter in letters.values())
        return [name for name, letter in letters.items() if letter.token in found]

    async def _look_for_tried(self, server: Server, letters: Mapping[str, Letter]) -> frozenset[str]:
        """Which of those that were tried have arrived; what may be under way still is waited for.

        A server goes on storing when the sender is gone: whoever finds nothing yet and sends it again has it
        there twice (seen in 0.23.0).
        """
        tried = {letter.token: name for name, letter in letters.items() if self._outbox.was_tried(name)}
        found, pause = await server.find(tried), _LOOK_SECONDS
        while server.can_look and (missing := self._under_way_of(tried.keys() - found, tried)):
            self._engine.notify("waiting to see whether what was being sent to session-buddy arrives")
            await trio.sleep(pause)
            pause = min(2 * pause, _LOOK_LATEST)
            found |= await server.find(missing)
        return found

    def _under_way_of(self, tokens: Iterable[str], names: Mapping[str, str]) -> list[str]:
        is_started = bool(_target(self._engine).command)
        patience = _LAST_LOOK_AT_A_STARTED_ONE if is_started else CALL_PATIENCE
        return [token for token in tokens if self._outbox.may_be_under_way(names[token], patience)]

    def _letter_of(self, name: str) -> Letter | None:
        """None for what was sent already, or is not in the state directory any more."""
        if (kept := self._outbox.letter(name)) is not None and not self._outbox.was_sent(name):
            return kept
        state = self._engine.app.state
        try:
            task = state.task(name)
            worker = state.worker(task.worker_id)
        except (UnknownTask, UnknownWorker):
            self._outbox.drop(name)
            return None
        result = state.result(task)
        if result is None and (task.directory / "result.json").exists():
            raise StateDirError("its result is damaged: 'mahavishnu doctor' names the file")
        if result is None or self._outbox.was_sent(name):
            self._outbox.drop(name)
            return None
        return compose(worker, task, result, self._engine.app.secrets)


def _target(engine: Engine) -> Target:
    return target_of(engine.app.loaded.settings, engine.app.environ)
