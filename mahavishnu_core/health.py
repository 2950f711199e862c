"""How the workers of a state directory are doing, taken together, and how single things are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from mahavishnu_core.damage import damaged_workers
from mahavishnu_core.keeper.cgroup import is_available
from mahavishnu_core.models import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.models import JSON, Backlog, Swept
    from mahavishnu_core.state import StateDir

Grade: TypeAlias = Literal["ok", "warning", "problem"]


@attrs.frozen
class Check:
    """How one thing is. A problem keeps something from working that is needed; a warning does not."""

    subject: str
    grade: Grade
    detail: str
    advice: str = ""


@attrs.frozen
class Health:
    """``status`` is ``degraded`` when no slot is free, something is left over or damaged, or a storage lags.

    A storage that has taken everything and cannot send it on lags behind when that is a fault. What is left
    over counts also where a plugin cannot say it.
    """

    status: str
    workers_active: int
    tasks_running: int
    tasks_pending: int
    max_concurrent: int
    not_stored: tuple[str, ...]
    """Tasks that have ended and that some storage does not have yet."""
    containment: str
    """See ``containment``."""
    leftovers: tuple[str, ...] = ()
    """What places still hold for workers that are gone, each with the reason."""
    not_swept: tuple[str, ...] = ()
    """Plugins that could not say what is left over, each with the reason."""
    not_mirrored: tuple[Backlog, ...] = ()
    """Storages in which results wait to be sent to where they keep them, and those whose sending fails."""
    damaged: tuple[str, ...] = ()
    """Files of workers that cannot be read."""

    def to_dict(self) -> dict[str, JSON]:
        fields = attrs.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def take_health(
    state: StateDir, max_concurrent: int, swept: Swept, backlogs: Iterable[Backlog] = ()
) -> Health:
    left = [(task, state.status(task)) for task in state.open_tasks()]
    not_stored = tuple(task.task_id for task, status in left if status.is_final)
    in_slots = [status for task, status in left if not status.is_final and not task.is_standing]
    pending = in_slots.count(WorkerStatus.PENDING)
    running = len(in_slots) - pending
    not_mirrored = tuple(each for each in backlogs if each.count or each.is_failing)
    damaged = tuple(damaged_workers(state))
    faults = (not_stored, swept.leftovers, swept.failures, damaged)
    lacking = any(faults) or any(each.is_failing for each in not_mirrored)
    return Health(
        status="degraded" if lacking or running >= max_concurrent else "healthy",
        workers_active=len(state.workers()),
        tasks_running=running,
        tasks_pending=pending,
        max_concurrent=max_concurrent,
        not_stored=not_stored,
        containment=containment(),
        leftovers=tuple(map(str, swept.leftovers)),
        not_swept=swept.failures,
        not_mirrored=not_mirrored,
        damaged=damaged,
    )


def containment() -> str:
    """What holds the families of commands together here: the strongest that is to be had."""
    return "control groups" if is_available() else "process table"
