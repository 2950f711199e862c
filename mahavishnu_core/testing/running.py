"""A task carried out by a plugin, with real processes, in a state directory that is gone afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_core.app import App
from mahavishnu_core.manager import WorkerManager
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.environs import home_in
from mahavishnu_core.testing.hosts import host_with_core

if TYPE_CHECKING:
    from mahavishnu_core.models import WorkerResult


async def carry_out(plugin: object, worker_type: str, *prompts: str) -> list[WorkerResult]:
    """The results of tasks given to one worker of that type, one after the other.

    ``plugin`` is a module or an object with hooks; beside it there is only the core. What it raises comes out
    in an ``ExceptionGroup``.
    """
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        app = App(host_with_core({"plugin": plugin}), StateDir(home / "state"), environ=home_in(home))
        async with WorkerManager(app) as manager:
            (worker_id,) = await manager.spawn_workers(worker_type, repo=home)
            results = [await manager.execute_task(worker_id, prompt) for prompt in prompts]
            await manager.close_worker(worker_id)
    return results
