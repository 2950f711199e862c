"""How the workers of a state directory are doing, taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.keeper.cgroup import is_available
from mahavishnu_core.models import WorkerStatus

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON
    from mahavishnu_core.state import StateDir


@attrs.frozen
class Health:
    """``status`` is ``degraded`` when every slot is taken or a storage lags behind, else ``healthy``."""

    status: str
    workers_active: int
    tasks_running: int
    tasks_pending: int
    max_concurrent: int
    not_stored: tuple[str, ...]
    """Tasks that have ended and that some storage does not have yet."""
    containment: str
    """See ``containment``."""

    def to_dict(self) -> dict[str, JSON]:
        return {**attrs.asdict(self), "not_stored": list(self.not_stored)}


def take_health(state: StateDir, max_concurrent: int) -> Health:
    standing = {task.task_id: state.status(task) for task in state.open_tasks()}
    pending = sum(status is WorkerStatus.PENDING for status in standing.values())
    not_stored = tuple(task_id for task_id, status in standing.items() if status.is_final)
    running = len(standing) - pending - len(not_stored)
    return Health(
        status="degraded" if not_stored or running >= max_concurrent else "healthy",
        workers_active=len(state.workers()),
        tasks_running=running,
        tasks_pending=pending,
        max_concurrent=max_concurrent,
        not_stored=not_stored,
        containment=containment(),
    )


def containment() -> str:
    """What holds the families of commands together here: the strongest that is to be had."""
    return "control groups" if is_available() else "process table"
