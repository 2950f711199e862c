"""The plugin ``container``: the place of that name, and the worker type that runs command lines in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from mahavishnu_core import Command, Engine, Run, Task, Worker, WorkerType
    from mahavishnu_core.health import Check
    from mahavishnu_core.models import JSON, Leftover
    from mahavishnu_core.settings import Options

HOOK_API = 1
_PLACE = "container"


@hookimpl
def worker_types() -> Iterable[WorkerType]:
    from mahavishnu_core import WorkerType

    yield WorkerType(
        name="container-executor",
        agent="shell",
        place=_PLACE,
        command_template="/bin/sh -c",
        progress_tracking="socket",
        aliases=(_PLACE,),
        description="runs each prompt as a command line in a container of Docker or Podman",
    )


@hookimpl
def place_options(place: str) -> type[Options] | None:
    if place != _PLACE:
        return None
    from mahavishnu_container.options import ContainerOptions

    return ContainerOptions


@hookimpl
def spawn(engine: Engine, worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
    if worker.type.place != _PLACE:
        return None
    from mahavishnu_container import place

    return place.spawn(engine, worker)


@hookimpl
def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, detached: bool
) -> Awaitable[Run] | None:
    if worker.type.place != _PLACE:
        return None
    from mahavishnu_container import place

    return place.launch(engine, worker, task, command, limit, detached=detached)


@hookimpl
def close(engine: Engine, worker: Worker) -> Awaitable[None] | None:
    if worker.type.place != _PLACE:
        return None
    from mahavishnu_container import place

    return place.close(engine, worker)


@hookimpl
def sweep(engine: Engine, remove: bool) -> Awaitable[Sequence[Leftover]]:
    from mahavishnu_container import leftovers

    return leftovers.sweep(engine, remove=remove)


@hookimpl
def diagnose(engine: Engine, kinds: Sequence[WorkerType]) -> Awaitable[Sequence[Check]] | None:
    mine = [kind for kind in kinds if kind.place == _PLACE]
    if not mine:
        return None
    from mahavishnu_container.diagnosis import diagnose_types

    return diagnose_types(engine, mine)
