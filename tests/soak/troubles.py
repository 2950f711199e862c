"""What is done to a running soak: kills, signals, and a database that cannot be written for a while."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from random import Random

import attrs
import trio

from mahavishnu_core.testing.processes import keepers

from .engines import Engine

_STARTED_AFTER = 0.2
"""Seconds in which an engine is up: who kills it sooner kills a Python that imports."""
_AT_WORK = 0.7
"""How many of those that are hit have to have tasks under way; of the others some have, too."""
_WRITE_VERSION = 18
"""Where a database says which version may write it. SQLite only reads one that it does not know."""
_KNOWN, _UNKNOWN = b"\2", b"\3"


@attrs.frozen
class Rates:
    """Seconds between troubles, on average; 0 for none."""

    kill: float
    kill_keeper: float
    interrupt: float
    flap: float


@attrs.define(eq=False)
class Troubles:
    """Each goes on until it is cancelled; what was done is counted."""

    state: Path
    engines: Mapping[int, Engine]
    """Those that run."""
    rates: Rates
    _random: Random
    counts: Counter[str] = attrs.field(factory=Counter)
    _enough: trio.Event = attrs.field(factory=trio.Event)
    _wanted: int = -1

    @property
    def kills(self) -> int:
        return self.counts["engines killed"] + self.counts["keepers killed"]

    async def killed(self, wanted: int) -> None:
        """Return when so many kills have happened."""
        self._wanted = wanted
        await self._enough.wait()

    async def kill_engines(self) -> None:
        await self._now_and_then(self.rates.kill, lambda: self._signal("engines killed", signal.SIGKILL))

    async def interrupt_engines(self) -> None:
        def interrupt() -> None:
            number = self._random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            self._signal("engines interrupted", number)

        await self._now_and_then(self.rates.interrupt, interrupt)

    async def kill_keepers(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Hands out the scope in which it does so."""
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await self._now_and_then(self.rates.kill_keeper, self._kill_keeper)

    async def flap(self) -> None:
        """Have the database refuse for some seconds, one way or another."""
        database = self.state / "results.sqlite3"
        ways: tuple[Callable[[Path], AbstractContextManager[str]], ...] = (
            _locked,
            _of_later_version,
            _protected,
        )
        while self.rates.flap:
            await trio.sleep(self._random.expovariate(1 / self.rates.flap))
            if database.exists():
                with self._random.choice(ways)(database) as way:
                    self.counts[f"database {way}"] += 1
                    await trio.sleep(self._random.uniform(1, 8))

    async def _now_and_then(self, seconds: float, do: Callable[[], None]) -> None:
        while seconds:
            await trio.sleep(self._random.expovariate(1 / seconds))
            do()
            if self.kills >= self._wanted >= 0:
                self._enough.set()

    def _signal(self, what: str, number: signal.Signals) -> None:
        running = [engine for engine in self.engines.values() if engine.age > _STARTED_AFTER]
        at_work = [engine for engine in running if engine.has_spoken]
        if at_work and self._random.random() < _AT_WORK:
            running = at_work
        if running and self._random.choice(running).send(number):
            self.counts[what] += 1

    def _kill_keeper(self) -> None:
        for keeper in keepers(self.state):
            try:
                os.kill(keeper.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.counts["keepers killed"] += 1
        if self._random.random() < 0.3:  # who was talking to it, too
            self._signal("engines killed", signal.SIGKILL)


@contextmanager
def _locked(database: Path) -> Iterator[str]:
    """Another program writes, and takes its time."""
    with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # an engine was faster
            yield "not locked"
            return
        yield "locked"
        connection.execute("ROLLBACK")


@contextmanager
def _of_later_version(database: Path) -> Iterator[str]:
    """It may be read, and not written, by whoever it is."""
    _write_at(database, _UNKNOWN)
    try:
        yield "of a later version"
    finally:
        _write_at(database, _KNOWN)


@contextmanager
def _protected(database: Path) -> Iterator[str]:
    """The same by its mode, which binds all but root."""
    database.chmod(0o400)
    try:
        yield "protected"
    finally:
        database.chmod(0o600)


def _write_at(database: Path, version: bytes) -> None:
    descriptor = os.open(database, os.O_WRONLY)
    try:
        os.pwrite(descriptor, version, _WRITE_VERSION)
    finally:
        os.close(descriptor)
