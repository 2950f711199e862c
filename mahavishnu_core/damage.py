"""Records in the state directory that are there and say something else than we wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mahavishnu_core.errors import UnknownTask, UnknownWorker
from mahavishnu_core.keeper.files import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mahavishnu_core.state import StateDir


def damaged_workers(
    state: StateDir, *, known: Collection[str] = (), with_closed: bool = True
) -> Iterator[str]:
    """The files of workers that cannot be read: of those workers nothing else is known.

    The ``known`` ones were read already.
    """
    for worker_id in names(f"{state.root}/workers"):
        if worker_id in known or (state.is_closed(worker_id) and not with_closed):
            continue
        path = f"{state.root}/workers/{worker_id}/worker.json"
        try:
            state.worker(worker_id)
        except UnknownWorker:
            if os.path.lexists(path):  # else it is being made right now
                yield path


def damaged_tasks(state: StateDir) -> Iterator[str]:
    """The same of tasks and of their results. All there are is read."""
    for worker_id in names(f"{state.root}/workers"):
        for task_id in state.task_ids(worker_id):
            directory = f"{state.root}/workers/{worker_id}/tasks/{task_id}"
            try:
                is_whole = state.result(state.task(task_id)) is not None
            except UnknownTask:
                yield f"{directory}/task.json"
            else:
                if not is_whole and os.path.lexists(f"{directory}/result.json"):
                    yield f"{directory}/result.json"
