"""The orchestrator's view of workers: one task carried out over one or many repositories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.errors import UsageError
from mahavishnu_core.manager import CLOSE_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mahavishnu_core.manager import WorkerManager
    from mahavishnu_core.models import JSON, WorkerResult


class OrchestratorAdapter(ABC):
    """What an orchestrator asks of an engine that carries out tasks."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the adapter is called in settings and reports."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """What the adapter can do, in single words."""

    @abstractmethod
    async def execute(self, task: Mapping[str, JSON], repos: Sequence[str]) -> dict[str, JSON]:
        """Carry out a task over repositories and return what came of it."""

    @abstractmethod
    async def get_health(self) -> dict[str, JSON]:
        """How the engine is doing; ``status`` is healthy, degraded or unhealthy."""


@attrs.frozen
class WorkerOrchestratorAdapter(OrchestratorAdapter):
    """Carries out tasks with the workers of a manager, which must be open."""

    manager: WorkerManager

    @property
    def name(self) -> str:
        return "worker"

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"execute", "batch", "cancel", "progress", "results"})

    async def execute(self, task: Mapping[str, JSON], repos: Sequence[str]) -> dict[str, JSON]:
        """Spawn workers over the repositories in turn, give each the prompt, and close them.

        ``task`` has ``prompt``, and may have ``worker_type`` (default: the settings'), ``count`` (default:
        one worker a repository) and ``timeout`` in seconds. A worker that cannot be closed is in
        ``not_closed``, with the reason. Raises UsageError for a task that makes no sense.
        """
        prompt, count = task.get("prompt"), task.get("count", len(repos))
        if not isinstance(prompt, str) or not prompt:
            raise UsageError("the task needs a 'prompt'")
        if not repos:
            raise UsageError("name at least one repository")
        if not isinstance(count, int) or count < 1:
            raise UsageError(f"'count' must be 1 or more, not {count!r}")
        kind = str(task.get("worker_type") or self.manager.app.loaded.settings.worker_default_type)
        kind = self.manager.app.catalog.get_for_tasks(kind).name
        ids: list[str] = []
        try:
            for number in range(count):
                ids += await self.manager.spawn_workers(kind, repo=Path(repos[number % len(repos)]))
            results = await self.manager.execute_batch(
                ids, [prompt] * count, timeout_seconds=_seconds(task.get("timeout"))
            )
        finally:
            not_closed: dict[str, JSON] = dict.fromkeys(
                ids, f"it could not be closed within {CLOSE_PATIENCE:g} s"
            )
            with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                closing = await self.manager.close_workers(ids)
                not_closed = {worker_id: str(error) for worker_id, error in closing.failures.items()}
        return _summary(results, repos) | {"not_closed": not_closed}

    async def get_health(self) -> dict[str, JSON]:
        health = await self.manager.health()
        return {
            "status": health.status,
            "adapter_type": self.name,
            "workers_active": health.workers_active,
            "max_concurrent": health.max_concurrent,
        }


def _seconds(timeout: JSON) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise UsageError(f"'timeout' must be a number of seconds above 0, not {timeout!r}")
    return float(timeout)


def _summary(results: Sequence[WorkerResult], repos: Sequence[str]) -> dict[str, JSON]:
    """All results whole, by worker, with their sums."""
    successful = sum(result.is_success() for result in results)
    failed = len(results) - successful
    by_worker: dict[str, JSON] = {
        result.worker_id: {**result.to_dict(), "repo": repos[number % len(repos)]}
        for number, result in enumerate(results)
    }
    return {
        "status": "completed" if not failed else "partial" if successful else "failed",
        "worker_count": len(results),
        "successful": successful,
        "failed": failed,
        "total_duration": sum(result.duration_seconds for result in results),
        "results": by_worker,
    }
