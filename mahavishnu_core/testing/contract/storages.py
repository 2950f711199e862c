"""What a storage keeps: each result once, as it is, and found again where it can search."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from mahavishnu_core.app import App
from mahavishnu_core.asking import LOOK_PATIENCE
from mahavishnu_core.engine import Engine, open_engine
from mahavishnu_core.host import awaited
from mahavishnu_core.models import JSON, Backlog, LogBatch, WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require, run
from mahavishnu_core.testing.contract.subject import task_of, worker_of
from mahavishnu_core.testing.environs import REACHES_NOBODY, home_in
from mahavishnu_core.testing.hosts import host_with_core
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from mahavishnu_core.testing.contract.subject import Subject

_PATIENCE = 30.0
_WORKER = worker_of(WorkerType("looked-at", "looked-at"))
_ODD = "lone \udc80 surrogate, NUL \0, Grüße 漢字 🙂 \u202e, " + "x" * 100_000
_PLAIN = WorkerResult(
    _WORKER.worker_id,
    WorkerStatus.COMPLETED,
    output="the zygomorphic answer",
    exit_code=0,
    metadata={"reason": None, "warnings": []},
)
_CREATED = "2026-01-01T00:00:00+00:00"
_NUMBERS: dict[str, JSON] = {
    "usage": {"input_tokens": 2**60 + 1},
    "cost_usd": 1e-9,
    "turns": None,
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_IN_ITS_PLACE = r".{0,6}"
"""A character that UTF-8 has not may be kept as another, as an escape, or not at all."""


def rows(subject: Subject) -> Iterator[Row]:
    if "store_result" not in subject.hooks:
        return
    looks: dict[str, tuple[str, Callable[[Store], Awaitable[str]]]] = {
        "once": ("a result that is given twice is kept once", _keeps_once),
        "odd": ("texts and numbers of any kind are kept", _keeps_odd_ones),
        "many": ("fifty results at once are kept", _keeps_many),
    }
    if "backlog" in subject.hooks:
        looks["backlog"] = ("it tells what waits in it, also without a server", _tells_its_backlog)
    if "store_log" in subject.hooks:
        looks["log"] = ("lines of a log are kept, also twice, of any kind, and many", _keeps_lines)
    for name, (promise, look) in looks.items():
        yield Row(f"storage: {name}", promise, partial(_look, subject, look))


class Store:
    """The storage that is looked at, with an engine on a state directory of its own."""

    def __init__(self, subject: Subject, engine: Engine) -> None:
        self._subject = subject
        self._engine = engine

    async def keep(self, number: int, result: WorkerResult) -> None:
        """Raises what the storage raises; DoesNotApply where it declines."""
        task = task_of(_WORKER, number=number)
        answer = self._subject.host.ask(
            "store_result", engine=self._engine, worker=_WORKER, task=task, result=result
        )
        if answer is None:
            raise DoesNotApply("it declines a result of a worker type that it does not know")
        with trio.fail_after(_PATIENCE):
            await awaited(answer, type(None))

    async def keep_lines(self, batch: LogBatch) -> None:
        """Raises what the storage raises; DoesNotApply where it declines."""
        answer = self._subject.host.ask("store_log", engine=self._engine, worker=_WORKER, batch=batch)
        if answer is None:
            raise DoesNotApply("it declines lines of a worker type that it does not know")
        with trio.fail_after(_PATIENCE):
            await awaited(answer, type(None))

    async def backlog(self) -> Sequence[object]:
        """Raises DoesNotApply where it declines."""
        answer = self._subject.host.ask("backlog", engine=self._engine)
        if answer is None:
            raise DoesNotApply("it declines")
        with trio.fail_after(LOOK_PATIENCE):
            return cast("Sequence[object]", await awaited(answer, Sequence))

    async def find(self, text: str) -> Sequence[WorkerResult]:
        """Raises DoesNotApply where it cannot search."""
        if "search_results" not in self._subject.hooks:
            raise DoesNotApply("it cannot search, so nobody can look")
        answer = self._subject.host.ask("search_results", engine=self._engine, text=text, limit=100)
        with trio.fail_after(_PATIENCE):
            return cast("Sequence[WorkerResult]", await awaited(answer, Sequence))


def _look(subject: Subject, look: Callable[[Store], Awaitable[str]]) -> str:
    return run(partial(_with_engine, subject, look))


async def _with_engine(subject: Subject, look: Callable[[Store], Awaitable[str]]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        app = App(host_with_core({}), StateDir(home / "state"), environ=home_in(home, REACHES_NOBODY))
        async with open_engine(app, 1) as engine:
            return await look(Store(subject, engine))


async def _keeps_once(store: Store) -> str:
    await store.keep(1, _PLAIN)
    await store.keep(1, _PLAIN)
    found = await store.find("zygomorphic")
    require(len(found) == 1, f"found {len(found)} times")
    _require_same(found[0], _PLAIN)
    return "found once, whole"


async def _keeps_odd_ones(store: Store) -> str:
    odd = WorkerResult(
        _WORKER.worker_id, WorkerStatus.FAILED, output=_ODD, error=_ODD, exit_code=-1, metadata=_NUMBERS
    )
    await store.keep(1, odd)
    found = await store.find("漢字")
    require(len(found) == 1, "it is not found by a word in it")
    _require_same(found[0], odd)
    return "kept, and found"


async def _keeps_many(store: Store) -> str:
    async with trio.open_nursery() as nursery:
        for number in range(1, 51):
            nursery.start_soon(store.keep, number, _PLAIN)
    found = await store.find("zygomorphic")
    require(len(found) == 50, f"{len(found)} of 50 are found")
    for each in found:
        _require_same(each, _PLAIN)
    return "50"


async def _keeps_lines(store: Store) -> str:
    plain, odd = LogBatch(1, ("one", ""), _CREATED), LogBatch(3, (_ODD,), _CREATED)
    many = LogBatch(4, ("x" * 100,) * 5000, _CREATED)
    for batch in (plain, odd, many, plain):
        await store.keep_lines(batch)
    return f"{many.last} lines"


async def _tells_its_backlog(store: Store) -> str:
    await store.keep(1, _PLAIN)
    told = await store.backlog()
    odd = [each for each in told if not isinstance(each, Backlog)]
    require(not odd, f"gives {one_line(repr(odd[:1]), 150)} where a Backlog is due")
    counts = [each.count for each in cast("Sequence[Backlog]", told)]
    require(all(type(count) is int and count >= 0 for count in counts), f"counts {counts}")
    return f"{sum(counts)} of 1"


def _require_same(found: WorkerResult, kept: WorkerResult) -> None:
    require(isinstance(found, WorkerResult), f"found as {type(found).__name__} where a WorkerResult is due")
    for name in ("status", "output", "error", "exit_code", "metadata"):
        got, due = getattr(found, name), getattr(kept, name)
        require(
            _is_same(got, due),
            f"its {name} is found as {one_line(repr(got), 150)} where {one_line(repr(due), 150)} was given",
        )


def _is_same(got: object, due: object) -> bool:
    match due:
        case str():
            pattern = _IN_ITS_PLACE.join(map(re.escape, _SURROGATE.split(due)))
            return isinstance(got, str) and re.fullmatch(pattern, got, re.DOTALL) is not None
        case dict():
            return json.dumps(got, sort_keys=True) == json.dumps(due, sort_keys=True)
    return type(got) is type(due) and got == due
