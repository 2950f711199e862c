"""What a storage keeps: each result once, as it is, and found again where it can search."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from mahavishnu_core.app import App
from mahavishnu_core.engine import Engine, open_engine
from mahavishnu_core.host import awaited
from mahavishnu_core.models import WorkerResult, WorkerStatus, WorkerType
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require, run
from mahavishnu_core.testing.contract.subject import task_of, worker_of
from mahavishnu_core.testing.hosts import host_with_core

if TYPE_CHECKING:
    from mahavishnu_core.testing.contract.subject import Subject

_PATIENCE = 30.0
_WORKER = worker_of(WorkerType("looked-at", "looked-at"))
_ODD = "lone \udc80 surrogate, NUL \0, Grüße 漢字 🙂 \u202e, " + "x" * 100_000
_PLAIN = WorkerResult(_WORKER.worker_id, WorkerStatus.COMPLETED, output="the zygomorphic answer", exit_code=0)


def rows(subject: Subject) -> Iterator[Row]:
    if "store_result" not in subject.hooks:
        return
    looks: dict[str, tuple[str, Callable[[Store], Awaitable[str]]]] = {
        "once": ("a result that is given twice is kept once", _keeps_once),
        "odd": ("texts and numbers of any kind are kept", _keeps_odd_ones),
        "many": ("fifty results at once are kept", _keeps_many),
    }
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

    async def find(self, text: str) -> Sequence[WorkerResult] | None:
        """None where it cannot search."""
        if "search_results" not in self._subject.hooks:
            return None
        answer = self._subject.host.ask("search_results", engine=self._engine, text=text, limit=100)
        with trio.fail_after(_PATIENCE):
            return cast("Sequence[WorkerResult]", await awaited(answer, Sequence))


def _look(subject: Subject, look: Callable[[Store], Awaitable[str]]) -> str:
    return run(partial(_with_engine, subject, look))


async def _with_engine(subject: Subject, look: Callable[[Store], Awaitable[str]]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        app = App(host_with_core({}), StateDir(Path(directory) / "state"))
        async with open_engine(app, 1) as engine:
            return await look(Store(subject, engine))


async def _keeps_once(store: Store) -> str:
    await store.keep(1, _PLAIN)
    await store.keep(1, _PLAIN)
    found = await store.find("zygomorphic")
    if found is None:
        return "given twice without an error; it cannot search"
    require(len(found) == 1, f"found {len(found)} times")
    require(found[0].output == _PLAIN.output, f"found as {found[0].output!r}")
    return "found once, whole"


async def _keeps_odd_ones(store: Store) -> str:
    metadata = {"task_id": "w0000000.1", "usage": {"input_tokens": 2**60}, "cost_usd": 1e-9, "reason": None}
    odd = WorkerResult(
        _WORKER.worker_id,
        WorkerStatus.FAILED,
        output=_ODD,
        error=_ODD,
        exit_code=-1,
        metadata=metadata,  # type: ignore[arg-type]  # JSON
    )
    await store.keep(1, odd)
    found = await store.find("漢字")
    require(found is None or len(found) == 1, "it is not found by a word in it")
    return "kept" if found is None else "kept, and found"


async def _keeps_many(store: Store) -> str:
    async with trio.open_nursery() as nursery:
        for number in range(1, 51):
            nursery.start_soon(store.keep, number, _PLAIN)
    found = await store.find("zygomorphic")
    require(found is None or len(found) == 50, f"{len(found or ())} of 50 are found")
    return "50"
