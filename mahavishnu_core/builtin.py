"""What the core itself brings as a plugin: the place ``local`` and the agent ``generic``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core.markers import hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from mahavishnu_core.hookspecs import Engine, Parser, Run
    from mahavishnu_core.models import JSON, Command, Leftover, Task, Worker

HOOK_API = 1


@hookimpl
def spawn(worker: Worker) -> Awaitable[Mapping[str, JSON]] | None:
    if worker.type.place != "local":
        return None
    from mahavishnu_core.local import make_ready

    return make_ready(worker)


@hookimpl
def launch(
    engine: Engine, worker: Worker, task: Task, command: Command | None, limit: int, detached: bool
) -> Awaitable[Run] | None:
    if worker.type.place != "local":
        return None
    from mahavishnu_core.local import launch_command

    return launch_command(engine, worker, task, command, limit, detached=detached)


@hookimpl
def close(worker: Worker) -> Awaitable[None] | None:
    if worker.type.place != "local":
        return None
    from mahavishnu_core.local import give_back

    return give_back()


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    """The agent ``generic``: the command as it is written, the prompt on its standard input."""
    if worker.type.agent != "generic":
        return None
    from mahavishnu_core.templates import command_from

    return command_from(worker.type.command_template, task.prompt)


@hookimpl
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    if worker.type.agent != "generic":
        return None
    from mahavishnu_core.stream import GenericParser, LinesParser

    return LinesParser() if worker.type.is_plain else GenericParser()


@hookimpl
def sweep(engine: Engine, remove: bool) -> Awaitable[Sequence[Leftover]]:
    return _sweep(engine, remove=remove)


async def _sweep(engine: Engine, *, remove: bool) -> Sequence[Leftover]:
    import trio

    from mahavishnu_core.drafts import sweep_drafts

    return await trio.to_thread.run_sync(lambda: sweep_drafts(engine.app.state, remove=remove))
