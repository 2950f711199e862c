"""How tasks of an agent go when the engine has to act: by Trio's mock clock, hours in milliseconds."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from trio.testing import MockClock

from mahavishnu_core.manager import WorkerManager
from mahavishnu_core.models import WorkerStatus
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require, run
from mahavishnu_core.testing.contract.subject import LentAgent
from mahavishnu_core.testing.fakes import FakePlace, FakeStorage, Hang, Leave, Say, Script, app_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mahavishnu_core.models import WorkerResult, WorkerType
    from mahavishnu_core.testing.contract.subject import Parts, Subject

_TIMEOUT = 600.0
_IDLE = 60.0
_NAME, _PATIENT = "looked-at", "looked-at-patiently"


def rows(subject: Subject) -> Iterator[Row]:
    looks: dict[str, tuple[str, Callable[[Stage], Awaitable[str]]]] = {
        "timeout": ("a task that goes on is ended at its wall limit", _times_out),
        "idle": ("a task that falls silent is ended at its idle limit", _idles_out),
        "cancel": ("a task that is cancelled ends so, and is no success", _is_cancelled),
        "storage": (
            "a storage that fails loses nothing: it is given the result later, once",
            _is_stored_later,
        ),
        "conversation": ("a second task goes on with the session of the first", _goes_on),
    }
    for kind in subject.task_types:
        for name, (promise, look) in looks.items():
            yield Row(f"{kind.name}: {name}", promise, partial(_look, subject, kind, look))


@attrs.define(eq=False)
class Stage:
    """A manager whose worker type is the one that is looked at, in a place that plays its sample.

    There is a second one of it that may be silent as long as it likes.
    """

    manager: WorkerManager
    place: FakePlace
    storage: FakeStorage
    opening: bytes
    ending: bytes
    kind: WorkerType

    async def spawn(self, name: str = _NAME) -> str:
        (worker_id,) = await self.manager.spawn_workers(name, repo=Path("/"))
        return worker_id

    async def execute(self, script: Script, name: str = _NAME) -> WorkerResult:
        """One task of a new worker, whose program follows the script."""
        self.place.script = lambda _: script
        return await self.manager.execute_task(await self.spawn(name), "Go", timeout_seconds=_TIMEOUT)


def _look(subject: Subject, kind: WorkerType, look: Callable[[Stage], Awaitable[str]]) -> str:
    sample = subject.good_sample(kind)
    if sample is None:
        raise DoesNotApply("no sample of a completed run")
    parts = subject.parts(kind, sample)
    on_stage = partial(_on_stage, subject, kind, parts, look)
    return run(on_stage, MockClock(autojump_threshold=0))


async def _on_stage(
    subject: Subject, kind: WorkerType, parts: Parts, look: Callable[[Stage], Awaitable[str]]
) -> str:
    kind = attrs.evolve(kind, name=_NAME, place="fake", aliases=(), idle_seconds=_IDLE)
    patient = attrs.evolve(kind, name=_PATIENT, idle_seconds=None)
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            place, storage = FakePlace(nursery, lambda _: (Hang(),), (kind, patient)), FakeStorage()
            app = app_of(Path(directory), place=place, storage=storage, agent=LentAgent(subject))
            async with WorkerManager(app) as manager:
                said = await look(Stage(manager, place, storage, parts.opening, parts.ending, kind))
            nursery.cancel_scope.cancel()
    return said


def _as_due(result: WorkerResult, status: WorkerStatus, reason: str | None) -> str:
    got = (result.status, result.metadata["reason"])
    require(got == (status, reason), f"{got[0].value} ({got[1]}) where {status.value} ({reason}) is due")
    return result.status.value + (f" ({reason})" if reason else "")


async def _times_out(stage: Stage) -> str:
    talking = [Say(b"still at it\n", after=_IDLE / 2) for _ in range(100)]
    # what it says need not be an event to every parser
    result = await stage.execute((Say(stage.opening), *talking, Hang()), _PATIENT)
    asked = stage.place.runs[-1].asked
    require(
        trio.current_time() - stage.place.runs[-1].began < 2 * _TIMEOUT, "it went on far beyond its limit"
    )
    return f"{_as_due(result, WorkerStatus.TIMEOUT, 'wall')} after {asked[0][0]}"


async def _idles_out(stage: Stage) -> str:
    return _as_due(await stage.execute((Say(stage.opening), Hang())), WorkerStatus.TIMEOUT, "idle")


async def _is_cancelled(stage: Stage) -> str:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_after, stage, _IDLE / 2)
        result = await stage.execute((Say(stage.opening), Hang()))
    return _as_due(result, WorkerStatus.CANCELLED, "cancelled")


async def _cancel_after(stage: Stage, seconds: float) -> None:
    await trio.sleep(seconds)
    await stage.manager.cancel_tasks()


async def _is_stored_later(stage: Stage) -> str:
    stage.storage.broken = True
    result = await stage.execute((Say(stage.opening + stage.ending), Leave()))
    _as_due(result, WorkerStatus.COMPLETED, None)
    require(stage.manager.storage_failures, "nobody was told of the storage that failed")
    stage.storage.broken = False
    await stage.manager.recover()
    await stage.manager.recover()
    kept = [task_id for task_id, _ in stage.storage.kept]
    require(kept == [result.metadata["task_id"]], f"stored {len(kept)} times after two further tries")
    return "completed, and stored once at the next try"


async def _goes_on(stage: Stage) -> str:
    if "session" not in stage.kind.tells:
        raise DoesNotApply("it declares no session")
    stage.place.script = lambda _: (Say(stage.opening + stage.ending), Leave())
    worker_id = await stage.spawn()
    first = await stage.manager.execute_task(worker_id, "Go")
    await stage.manager.execute_task(worker_id, "Go on")
    _, second = stage.manager.app.state.tasks(worker_id)
    session = first.metadata["session_id"]
    require(second.resume, "the second task begins a conversation of its own")
    require(
        second.session_id == session, f"it goes on with {second.session_id!r}, the first named {session!r}"
    )
    return str(session)
