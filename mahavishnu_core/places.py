"""For places that run commands elsewhere: the keeper keeps a local program, the shim, that stands for each.

The shim starts the command over there, waits for it, and ends as it ended. So such a place has all that the
keeper gives: a slot under the limit, a deadline without any engine, an end after a crash (see
``docs/hooks/launch.md``).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.environment import ELSEWHERE
from mahavishnu_core.keeper.family import MARK
from mahavishnu_core.local import local_place, make_ready
from mahavishnu_core.records import engine_lives as is_alive
from mahavishnu_core.records import this_engine as known_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.hookspecs import Engine
    from mahavishnu_core.keeper_link import LocalRun
    from mahavishnu_core.models import Command, Task, Worker

__all__ = [
    "Shim",
    "engine_lives",
    "environment_elsewhere",
    "find_shim",
    "launch_shim",
    "require_workspace",
    "this_engine",
]


@attrs.frozen
class Shim:
    """A local program that stands for a command elsewhere.

    It has the task's input and output files as its own. SIGTERM asks it to end the command gently, SIGQUIT
    at once. Before it ends it writes ``shim.json`` into the task's directory, whole, with the fields of
    ``Exit`` that it knows: that is what ``exit.json`` will say.
    """

    argv: tuple[str, ...]
    """The first word is the path of the program's file."""
    env: Mapping[str, str] = attrs.field(repr=False)
    """The shim's whole environment."""
    stands_for: str
    """What goes on when the shim is lost, for the list of survivors: ``container x``."""


async def require_workspace(worker: Worker) -> None:
    """Raises UsageError where the workspace is no directory."""
    await make_ready(worker)


async def environment_elsewhere(engine: Engine, command: Command) -> dict[str, str]:
    """What a command gets of the caller's environment in a place that is not this machine.

    The few variables that mean the same everywhere (language, terminal, time zone), those that its agent, its
    worker type and the settings name, and how deep it is nested; no PATH, no HOME.
    """
    place = await local_place(engine)
    return place.environment.choose(command, ELSEWHERE)


async def launch_shim(
    engine: Engine, worker: Worker, task: Task, shim: Shim, stdin: str, limit: int, *, detached: bool
) -> LocalRun:
    """Hand a shim to the keeper; ``stdin`` is what it finds on its standard input."""
    place = await local_place(engine)
    return place.launch(
        task,
        argv=shim.argv,
        stdin=stdin,
        env={**shim.env, MARK: task.task_id},
        cwd="/",
        limit=limit,
        detached=detached,
        kind=worker.type,
        shim=shim.stands_for,
    )


async def find_shim(engine: Engine, task: Task) -> LocalRun:
    """A shim that an earlier engine handed over."""
    place = await local_place(engine)
    return place.link.watch(task)


def this_engine() -> str:
    """Names this engine, for a label on what it is making: that is nobody's as soon as the engine is gone."""
    return json.dumps(dict(known_by(os.getpid())))


def engine_lives(name: str) -> bool:
    """Whether an engine is still there; one that ``this_engine`` did not name is not."""
    try:
        return is_alive({"engine": json.loads(name)})
    except (ValueError, KeyError, TypeError):
        return False
