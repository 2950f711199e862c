"""Sends what waits: marked before it is sent, looked up afterwards, in batches that are written to disk."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import UnknownTask, UnknownWorker
from mahavishnu_core.models import Backlog, Synced
from mahavishnu_session_buddy.errors import MirrorError, Refused
from mahavishnu_session_buddy.letter import Letter, compose, is_log, token_of
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.server import CALL_PATIENCE, Server, converse
from mahavishnu_session_buddy.target import Target, target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine

STORAGE = "session-buddy"
BATCH = 20
"""Letters between two requests to write to the disk: as many are sent again when the server dies."""
_LOOK_SECONDS = 0.2
_NOT_FOUND = "the server says that it has stored, and does not find it again"
Told = Callable[[int, int], None]


async def tell_backlog(engine: Engine) -> Sequence[Backlog]:
    """What still waits, from the files alone."""
    await trio.lowlevel.checkpoint()
    outbox = Outbox.of(engine.state_dir)
    return [_backlog(outbox, _target(engine))]


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
        try:
            if verify or self._outbox.waiting():
                talk = self._verify if verify else self._send_all
                await converse(_target(self._engine), self._outbox.home, talk)
        except MirrorError as error:
            self._end()
            self._note(error.reason, error.advice)
            raise
        except Exception as error:
            self._end()
            self._note(f"internal error ({type(error).__name__}: {error})", "report it")
            raise
        self._outbox.note_success()

    def synced(self, failure: MirrorError | None) -> Synced:
        """What came of it, and why not all has arrived."""
        target = _target(self._engine)
        backlog = _backlog(self._outbox, target)
        if failure is not None:
            is_failing = _is_known(self._outbox, target)
            backlog = Backlog(STORAGE, backlog.count, failure.reason, failure.advice, is_failing)
        return Synced(sent=tuple(self._sent), backlog=backlog, lost=tuple(self._lost))

    def _begin(self, name: str) -> None:
        self._outbox.mark_begun(name)
        self._under_way = name

    def _end(self) -> None:
        """The sending under way is over; whoever is cancelled or killed in it does not see that."""
        if self._under_way is not None:
            self._outbox.mark_over(self._under_way)
            self._under_way = None

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
            refusal = await self._send(server, batch) or refusal
            if refusal and not set(batch) & set(self._sent):
                break  # it takes nothing: no need to try all
            self._told(min(start + BATCH, len(names)), len(names))
        if refusal:
            raise refusal

    async def _send(self, server: Server, names: list[str]) -> Refused | None:
        """One batch; why something of it has not arrived. Raises MirrorError."""
        letters = {name: letter for name in names if (letter := self._letter_of(name))}
        there = await self._look_for_tried(server, letters)
        refused: dict[str, Refused] = {}
        for name, letter in letters.items():
            if letter.token not in there:
                self._begin(name)
                try:
                    await server.store(letter)
                except Refused as error:
                    refused[letter.token] = error
                self._end()
        await server.flush()
        tokens = [letter.token for letter in letters.values()]
        arrived = await server.find(tokens) if server.can_look else set(tokens) - set(refused)
        for name, letter in letters.items():
            if letter.token in arrived:
                self._outbox.mark_sent(name)
                self._sent.append(name)
        missing = [token for token in tokens if token not in arrived]
        return refused.get(missing[0], Refused(_NOT_FOUND)) if missing else None

    async def _look_for_tried(self, server: Server, letters: Mapping[str, Letter]) -> frozenset[str]:
        """Which of those that were tried have arrived; what may be under way still is waited for.

        A server goes on storing when the sender is gone: whoever finds nothing yet and sends it again has it
        there twice (seen in 0.23.0).
        """
        tried = {letter.token: name for name, letter in letters.items() if self._outbox.was_tried(name)}
        found, pause = await server.find(tried), _LOOK_SECONDS
        while server.can_look and (missing := self._under_way_of(tried.keys() - found, tried)):
            if pause == _LOOK_SECONDS:
                self._engine.notify("waiting to see whether what was being sent to session-buddy arrives")
            await trio.sleep(pause)
            pause *= 2
            found |= await server.find(missing)
        return found

    def _under_way_of(self, tokens: Iterable[str], names: Mapping[str, str]) -> list[str]:
        return [token for token in tokens if self._outbox.may_be_under_way(names[token], CALL_PATIENCE)]

    def _letter_of(self, name: str) -> Letter | None:
        """None for what was sent already, or is not in the state directory any more."""
        if (kept := self._outbox.letter(name)) is not None and not self._outbox.was_sent(name):
            return kept
        state = self._engine.app.state
        try:
            task = state.task(name)
            worker = state.worker(task.worker_id)
            result = state.result(task)
        except (UnknownTask, UnknownWorker):
            result = None
        if result is None or self._outbox.was_sent(name):
            self._outbox.drop(name)
            return None
        return compose(worker, task, result, self._engine.secrets_of(worker))


def _target(engine: Engine) -> Target:
    return target_of(engine.app.loaded.settings, engine.app.environ)


def _backlog(outbox: Outbox, target: Target) -> Backlog:
    count, failure = len(outbox.waiting()), outbox.failure()
    if failure is None:
        return Backlog(STORAGE, count)
    return Backlog(STORAGE, count, failure.reason, failure.advice, is_failing=_is_known(outbox, target))


def _is_known(outbox: Outbox, target: Target) -> bool:
    """Whether there should be a server; else we only look whether there is one."""
    return target.is_chosen or bool(outbox.sent())
