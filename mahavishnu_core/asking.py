"""All plugins asked an async hook at once, each with its time: who fails is named, the others heard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError, PluginError
from mahavishnu_core.health import Check
from mahavishnu_core.host import awaited
from mahavishnu_core.models import Backlog, Leftover, Swept, Synced, WorkerResult
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mahavishnu_core.engine import Engine
    from mahavishnu_core.models import WorkerType

T = TypeVar("T")

LOOK_PATIENCE = 15.0
"""Seconds in which a plugin must have said how things are."""
REMOVE_PATIENCE = 120.0
"""The same where it is to take things away: a daemon may be slow at that."""

TRY_PATIENCE = 60.0
"""The same where it is to try out what it needs: a server may have to be started for that."""


async def sweep_places(engine: Engine, *, remove: bool) -> Swept:
    """What is left over in all places from workers that are gone, with ``remove`` taken away."""
    patience = REMOVE_PATIENCE if remove else LOOK_PATIENCE
    found = await _ask_all(engine, "sweep", Leftover, patience, remove=remove)
    failures = (one_line(f"plugin {plugin!r}: {reason}") for plugin, reason in found.failures.items())
    return Swept(tuple(found.answers), tuple(failures))


async def diagnose(engine: Engine, kinds: Sequence[WorkerType]) -> list[Check]:
    """What all plugins find of themselves; a warning for each that could not say."""
    found = await _ask_all(engine, "diagnose", Check, TRY_PATIENCE, kinds=kinds)
    failed = (Check(f"plugin {plugin}", "warning", reason) for plugin, reason in found.failures.items())
    return [*found.answers, *failed]


async def backlogs(engine: Engine) -> list[Backlog]:
    """What waits in all storages; one that cannot say is failing, with the reason and a count of 0."""
    found = await _ask_all(engine, "backlog", Backlog, LOOK_PATIENCE)
    return [*found.answers, *_failing(found.failures)]


async def sync_results(engine: Engine, *, verify: bool, told: Callable[[int, int], None]) -> list[Synced]:
    """What came of it in all storages, however long it takes; one that raises is a failing backlog."""
    found = await _ask_all(engine, "sync_results", Synced, math.inf, verify=verify, told=told)
    return [*found.answers, *(Synced((), backlog) for backlog in _failing(found.failures))]


async def search_results(engine: Engine, text: str, limit: int) -> tuple[list[WorkerResult], dict[str, str]]:
    """What all storages find, in their order, best first; and the storages that fail, with the reason."""
    found = await _ask_all(engine, "search_results", WorkerResult, TRY_PATIENCE, text=text, limit=limit)
    return found.answers, found.failures


def _failing(failures: Mapping[str, str]) -> Iterator[Backlog]:
    """Nobody knows what waits in them: not a count, but a fault to hear of."""
    for plugin, reason in failures.items():
        yield Backlog(plugin, 0, one_line(reason), is_failing=True)


@attrs.frozen
class _Found(Generic[T]):
    answers: list[T]
    failures: dict[str, str]
    """Plugins that could not answer, with the reason."""


async def _ask_all(
    engine: Engine, hook: str, kind: type[T], patience: float, **arguments: object
) -> _Found[T]:
    """What all plugins answer, in the order of the plugins."""
    heard: dict[str, Sequence[T]] = {}
    failures: dict[str, str] = {}

    async def hear(plugin: str, answer: object) -> None:
        try:
            if isinstance(answer, Exception):
                raise answer.__cause__ or answer
            with trio.move_on_after(patience) as waiting:
                heard[plugin] = _all_of(await awaited(answer, Sequence), kind)  # type: ignore[type-abstract]  # mypy 4717
            if waiting.cancelled_caught:
                failures[plugin] = f"{hook} has not answered for {patience:g} s"
        except MahavishnuError as error:
            failures[plugin] = str(error)
        except Exception as error:  # noqa: BLE001  # foreign code: anything may come
            failures[plugin] = f"{hook} failed: {type(error).__name__}: {error}"

    asked = engine.app.host.attempts(hook, engine=engine, **arguments)
    async with trio.open_nursery() as nursery:
        for plugin, answer in asked:
            nursery.start_soon(hear, plugin, answer)
    order = [plugin for plugin, _ in asked]
    return _Found(
        [item for plugin in order for item in heard.get(plugin, ())],
        {plugin: failures[plugin] for plugin in order if plugin in failures},
    )


def _all_of(found: Sequence[object], kind: type[T]) -> list[T]:
    """A list of what is of the promised kind throughout. Raises PluginError."""
    mine = [item for item in found if isinstance(item, kind)]
    if len(mine) < len(found):
        raise PluginError(f"a hook gave something else in a list of {kind.__name__}")
    return mine
