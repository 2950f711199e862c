"""How a worker is made and how a task's command gets going: the agent is asked for it, the place runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import attrs
import trio

from mahavishnu_core.errors import MahavishnuError, PluginError
from mahavishnu_core.local import MayNotRun, find_program
from mahavishnu_core.models import Command, Task, Worker, WorkerType, utc_now
from mahavishnu_core.templates import words

if TYPE_CHECKING:
    from pathlib import Path

    from mahavishnu_core.engine import Engine
    from mahavishnu_core.hookspecs import Run


async def spawn(engine: Engine, kind: WorkerType, workspace: Path) -> Worker:
    """A new worker, made ready by its place and written down."""
    state = engine.app.state
    worker = Worker(state.new_worker_id(), kind, workspace, utc_now())
    try:
        facts = await engine.ask("spawn", Mapping, worker=worker)  # type: ignore[type-abstract]  # mypy 4717
        if facts is None:
            raise PluginError(f"no plugin offers the place {kind.place!r} of worker type {kind.name!r}")
        worker = attrs.evolve(worker, facts=dict(facts))
        state.add_worker(worker)
    except BaseException:
        state.forget_worker_id(worker.worker_id)
        raise
    return worker


async def spawn_all(
    engine: Engine, kind: WorkerType, workspace: Path, count: int, made: list[Worker]
) -> None:
    """Make so many workers ready at once, and add each to ``made`` when it is.

    Raises the first error; then the others are given up.
    """
    errors: list[Exception] = []

    async def make() -> None:
        try:
            made.append(await spawn(engine, kind, workspace))
        except Exception as error:  # noqa: BLE001  # it is raised below, alone and not in a group
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(make)
    if errors:
        raise errors[0]


def require_program(kind: WorkerType, workspace: Path) -> None:
    """Say that a program is missing before anything is spawned for it. Raises MissingError."""
    if kind.place != "local" or not kind.command_template:
        return
    try:
        find_program(words(kind.command_template)[0], os.environ.get("PATH"), workspace)
    except MayNotRun as error:
        raise MayNotRun(f"worker type {kind.name!r} cannot be used: {error}") from None
    except MahavishnuError as error:
        hint = f": install it with '{kind.install}'" if kind.install else ""
        raise type(error)(
            f"worker type {kind.name!r} needs a program that is not there, {error}{hint}"
        ) from None


async def launch(engine: Engine, worker: Worker, task: Task, *, detached: bool) -> Run:
    """Have a task's command run by the worker's place. Raises PluginError, MissingError."""
    agent, settings = worker.type.agent, engine.app.loaded.settings
    plugin, command = engine.app.host.answered("execute", worker=worker, task=task) or (None, None)
    if not isinstance(command, Command):
        raise PluginError(f"no plugin carries out tasks of agent {agent!r} (type {worker.type.name!r})")
    engine.record("command", task, plugin=plugin, argv=[*command.argv], prompt=task.prompt)
    command = attrs.evolve(
        command,
        pass_env=(*command.pass_env, *worker.type.pass_env, *settings.pass_env),
        env={**command.env, **engine.app.catalog.env_of(worker.type.name)},
    )
    return await _ask_place(engine, worker, task, command, detached=detached)


async def find_again(engine: Engine, worker: Worker, task: Task) -> Run:
    """A command that was launched by an earlier engine, or by another one. Raises PluginError."""
    return await _ask_place(engine, worker, task, None, detached=False)


async def _ask_place(
    engine: Engine, worker: Worker, task: Task, command: Command | None, *, detached: bool
) -> Run:
    run = await engine.ask(
        "launch",
        object,
        worker=worker,
        task=task,
        command=command,
        limit=engine.max_concurrent,
        detached=detached,
    )
    if run is None:
        raise PluginError(f"no plugin offers the place {worker.type.place!r}: is it installed?")
    return cast("Run", run)
