"""The long poll: how workers stand and what has happened since a cursor, as soon as there is something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_mcp.events import Happening, read_cursor, write_cursor
from mahavishnu_mcp.shapes import EventLine, Monitored, WorkerLine

if TYPE_CHECKING:
    from mahavishnu_core import Task
    from mahavishnu_mcp.service import Service

LATEST = "latest"
"""The cursor of a client that wants to hear only of what happens from now on."""
_GATHER = 0.05
"""Seconds between two looks when much happens: one answer then tells more."""
_FINAL = {"completed", "failed", "timeout", "cancelled"}


async def watch(
    service: Service, worker_ids: list[str] | None, interval: float, cursor: str, most: int
) -> Monitored:
    """What is new within ``interval`` seconds, with ``most`` events at most.

    Raises UnknownWorker, UsageError for a bad cursor.
    """
    deadline = trio.current_time() + interval
    await service.manager.recover()
    service.follower.look()
    places = await _latest(service, worker_ids) if cursor == LATEST else read_cursor(cursor)
    before = _standing(service, worker_ids)
    while True:
        moment = service.follower.moment
        seen = await _look(service, worker_ids, places, most)
        is_new = seen.events or _standing(service, worker_ids) != before
        left = deadline - trio.current_time()
        if is_new or seen.all_ended or left <= 0:
            return seen
        await service.follower.news(moment, left)
        await trio.sleep(_GATHER)


async def _look(
    service: Service, worker_ids: list[str] | None, places: dict[str, int], most: int
) -> Monitored:
    # before the events: where all has ended, there are no more than are told here
    lines = {line.worker_id: line for line in service.lines(service.known(worker_ids))}
    found: list[EventLine] = []
    reached: dict[str, int] = {}
    more = False
    for worker_id in service.known(worker_ids):
        for task in _unread(service, worker_id, places):
            after = places.get(task.task_id, 0)
            happenings = await service.follower.log.since(task, after, most + 1 - len(found))
            taken = happenings[: most - len(found)]
            found += [_line(task, each) for each in taken]
            reached[task.task_id] = taken[-1].seq if taken else after
            if len(taken) < len(happenings):
                more = True
                break  # the worker's later tasks come when this one is told
    return Monitored(
        workers=lines,
        events=found,
        cursor=write_cursor(reached),
        more=more,
        all_ended=all(map(_is_idle, lines.values())),
    )


async def _latest(service: Service, worker_ids: list[str] | None) -> dict[str, int]:
    """By task, the number of its last event so far."""
    tasks = [service.state.last_task(worker_id) for worker_id in service.known(worker_ids)]
    return {task.task_id: await service.follower.log.last(task) for task in tasks if task is not None}


def _unread(service: Service, worker_id: str, places: dict[str, int]) -> list[Task]:
    """The worker's latest task, and those since the one at which the reader is."""
    tasks = service.state.tasks(worker_id)
    read = [number for number, task in enumerate(tasks) if task.task_id in places]
    return tasks[read[-1] if read else -1 :]


def _standing(service: Service, worker_ids: list[str] | None) -> list[tuple[str, str, str | None]]:
    return [(line.worker_id, line.status, line.task_id) for line in service.lines(service.known(worker_ids))]


def _is_idle(line: WorkerLine) -> bool:
    return line.task_id is None or line.status in _FINAL


def _line(task: Task, happening: Happening) -> EventLine:
    return EventLine(
        worker_id=task.worker_id,
        task_id=task.task_id,
        seq=happening.seq,
        type=happening.type,
        text=happening.text,
    )
