"""An engine that a test drives: calls come in as JSON lines, answers and all events go out as such.

At the end of its input it leaves as any program does that leaves the manager's block.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from mahavishnu_core import Task, WorkerManager, task_run
from mahavishnu_core.errors import MahavishnuError
from mahavishnu_core.events import TaskEvent, to_dict
from mahavishnu_core.local import local_place
from mahavishnu_core.models import JSON

LIMIT_SECONDS = 900.0
"""The time limit of each task: none that a test comes to."""


async def main(width: int) -> None:
    # an agent that has given its result lives until the test ends it, however slow the machine is
    task_run.RESULT_GRACE = LIMIT_SECONDS
    async with WorkerManager(max_concurrent=width) as manager:
        manager.observe(_tell_event)
        await manager.recover()
        _tell({"call": 0, "answer": os.getpid()})
        async with trio.open_nursery() as nursery:
            async for line in _lines():
                nursery.start_soon(_answer, manager, json.loads(line))
            nursery.cancel_scope.cancel()


async def _answer(manager: WorkerManager, call: dict[str, JSON]) -> None:
    number = call.pop("call")
    try:
        answer = await _carry_out(manager, **call)
    except MahavishnuError as error:
        _tell({"call": number, "error": type(error).__name__, "text": str(error)})
    else:
        _tell({"call": number, "answer": answer})


async def _carry_out(
    manager: WorkerManager, do: str, which: str = "", prompt: str = "", grace: float = 0.0
) -> JSON:
    match do:
        case "spawn":
            (worker_id,) = await manager.spawn_workers("obedient")
            return worker_id
        case "execute":
            return (await manager.execute_task(which, prompt, timeout_seconds=LIMIT_SECONDS)).to_dict()
        case "submit":
            return await manager.submit_task(which, prompt, timeout_seconds=LIMIT_SECONDS)
        case "wait":
            return (await manager.wait_for_task(which)).to_dict()
        case "cancel":
            await manager.cancel_task(which, grace_seconds=grace)
        case "cancel_all":
            await manager.cancel_tasks(grace)
        case "close":
            return await manager.close_worker(which, grace_seconds=grace)
        case "collect":
            return [result.to_dict() for result in await manager.collect_results(all_tasks=True)]
        case "hear":
            await _hear(manager)
    return None


async def _hear(manager: WorkerManager) -> None:
    """Return when the keeper has dealt with all that was said to it here before, and with what follows.

    It answers in the order in which it is asked, and the second time what its first answers gave rise to is
    said too.
    """
    place = await local_place(manager.engine)
    for number in range(2):
        nothing = f"nothing.{os.getpid()}.{number}"
        task = Task(nothing, nothing, "", None, "", False, "", Path("/nowhere"))
        await place.link.watch(task).state()


async def _lines() -> AsyncIterator[bytes]:
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line


def _tell_event(item: TaskEvent) -> None:
    _tell({"event": to_dict(item)})


def _tell(message: dict[str, JSON]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
