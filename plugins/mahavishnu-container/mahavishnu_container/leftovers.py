"""Containers of ours whose worker is gone: known by their labels, listed, and removed where that is asked.

Nothing without our labels is looked at, and nothing of another state directory: each has a name of its own,
since two of them may lie at the same path of two containers that share a daemon.
"""

from __future__ import annotations

import os
import uuid
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from mahavishnu_container.runtime import RUNTIMES, find_socket, open_runtime
from mahavishnu_core.errors import MahavishnuError, MissingError, UnknownWorker, UsageError
from mahavishnu_core.models import Leftover
from mahavishnu_core.places import engine_lives, this_engine
from mahavishnu_core.state import StateDir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from mahavishnu_container.runtime import Runtime
    from mahavishnu_core import Engine, Worker

WORKER, STATE, STATE_PATH, ENGINE = (
    "mahavishnu.worker",
    "mahavishnu.state",
    "mahavishnu.state_dir",
    "mahavishnu.engine",
)
"""The labels of a container: its worker, the name and the path of the state directory, and who made it."""
_ID_FILE = "containers.id"


def labels_of(worker: Worker, state_dir: Path) -> dict[str, str]:
    """What a container is known by."""
    return {
        WORKER: worker.worker_id,
        STATE: _name_of(state_dir),
        STATE_PATH: str(state_dir),
        ENGINE: this_engine(),
    }


async def sweep(engine: Engine, *, remove: bool) -> Sequence[Leftover]:
    """The leftovers in all daemons that are there. Raises MissingError where one does not answer."""
    found: list[Leftover] = []
    if _known_name(engine.state_dir) is None:  # no container was ever made for it
        return found
    for name in RUNTIMES:
        try:
            socket = find_socket(name, os.environ)
        except (MissingError, UsageError):  # it is not there, or not here: it has nothing of ours
            continue
        found += await _sweep_one(engine, await open_runtime(engine, name, socket), remove=remove)
    return found


async def remove_labelled(runtime: Runtime, labels: Mapping[str, str]) -> None:
    """Remove what was made with these labels: its name may be that of another. Raises as ``Runtime.call``."""
    filters = {"label": [f"{label}={labels[label]}" for label in (STATE, WORKER)]}
    for container in await runtime.call(runtime.client.api.containers, all=True, filters=filters):
        await runtime.remove(container["Id"])


async def sweep_once(engine: Engine, runtime: Runtime) -> None:
    """Remove what earlier engines left, when this one first makes a container."""
    await engine.hold(f"containers swept {runtime.name}", partial(_swept, engine, runtime))


@asynccontextmanager
async def _swept(engine: Engine, runtime: Runtime) -> AsyncIterator[bool]:
    try:
        removed = await _sweep_one(engine, runtime, remove=True)
    except MahavishnuError as error:  # what is left over keeps nobody from going on
        engine.notify(f"containers that are left over could not be removed: {error}")
    else:
        for leftover in removed:
            engine.notify(f"removed {leftover.name}: {leftover.detail}")
    yield True


async def _sweep_one(engine: Engine, runtime: Runtime, *, remove: bool) -> list[Leftover]:
    name = _known_name(engine.state_dir)
    if name is None:
        return []
    filters = {"label": [f"{STATE}={name}", WORKER]}
    found = await runtime.call(runtime.client.api.containers, all=True, filters=filters)
    leftovers = []
    for container in found:
        labels = container["Labels"]
        if (why := _why_left(StateDir(engine.state_dir), labels)) is not None:
            leftovers.append(Leftover(f"container {container['Names'][0].lstrip('/')}", labels[WORKER], why))
            if remove:
                await runtime.remove(container["Id"])
    return leftovers


def _why_left(state: StateDir, labels: dict[str, str]) -> str | None:
    """Why nobody needs a container any more; None where somebody does."""
    worker_id = labels.get(WORKER, "")
    try:
        state.worker(worker_id)
    except UnknownWorker:
        # an engine that makes one just now has not written the worker down yet
        return None if engine_lives(labels.get(ENGINE, "")) else "its worker was never made, or is gone"
    return "its worker is closed" if state.is_closed(worker_id) else None


def _name_of(state_dir: Path) -> str:
    """The name of a state directory, which is given when it is first asked for."""
    if (known := _known_name(state_dir)) is not None:
        return known
    name = uuid.uuid4().hex
    made = state_dir / f"{_ID_FILE}.{name}"
    made.write_text(name)
    try:
        (state_dir / _ID_FILE).hardlink_to(made)  # whole, where nobody was faster
    except FileExistsError:
        name = (state_dir / _ID_FILE).read_text()
    finally:
        made.unlink()
    return name


def _known_name(state_dir: Path) -> str | None:
    try:
        return (state_dir / _ID_FILE).read_text()
    except FileNotFoundError:
        return None
