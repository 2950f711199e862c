"""``workers logs``: what an agent put out, as a transcript, as events or byte for byte."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.completing import task_ids
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.streams import emit_bytes, emit_json, say
from mahavishnu_cli.transcript import Transcript
from mahavishnu_core.errors import PluginError, UnknownTask, UsageError
from mahavishnu_core.pieces import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import Task, WorkerManager
    from mahavishnu_core.models import JSON
    from mahavishnu_core.state import StateDir

_CHUNK = 1 << 18
_LOOK_EVERY = 0.1


@click.command(
    "logs",
    epilog=example(
        "mahavishnu workers logs k3f9a2b1",
        "mahavishnu workers logs -f k3f9a2b1",
        "mahavishnu workers logs k3f9a2b1 --task 2 --raw | jq -r .type",
        "mahavishnu workers logs k3f9a2b1.2 --json | jq '.events[] | select(.type == \"tool_call\")'",
    ),
)
@click.argument("name", shell_complete=task_ids, metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task ends.")
@click.option("--raw", is_flag=True, help="The agent's own output, byte for byte.")
@click.option(
    "--task",
    "number",
    type=click.IntRange(1),
    metavar="N",
    help="The worker's Nth task instead of its latest.",
)
@json_option("one object with all events, as 'execute --jsonl' has them,")
@click.pass_obj
def logs(start: Start, name: str, follow: bool, raw: bool, number: int | None, as_json: bool) -> int:
    """Show what an agent did, as a transcript.

    ID is that of a worker or of a task. Words of the agent stand as they are, with control characters made
    visible and known secrets taken out. '>' is a tool call, '<' what the tool answered ('!' where it
    failed), '~' thinking, '%' progress that a program reports, '*' a notice, '?' a line that is no event, '|'
    the work of a subagent.
    """
    if raw and as_json:
        raise UsageError("--raw and --json exclude each other: --raw is what the agent itself has put out")
    state = start.state
    task = find_task(state, name, number)
    if follow and not as_json and state.result(task) is None:
        return start.manage(lambda manager, _: _follow(start, manager, task, raw=raw))
    status = 0 if state.result(task) else _settle(start, task, until_it_ends=follow)
    if raw:
        _print_raw(task)
    elif as_json:
        _print_json(start, task)
    else:
        _print_transcript(start, task)
    if state.result(task) is None:
        say(f"task {task.task_id} has not ended: --follow goes on reading")
    return status


def _settle(start: Start, task: Task, *, until_it_ends: bool) -> int:
    """See to what ended while nobody looked, or to the end of this task; the exit status of that."""
    if not until_it_ends:
        return start.settle()

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        await manager.recover()
        await manager.follow([task.task_id])
        return 0

    return start.manage(body)


def find_task(state: StateDir, name: str, number: int | None = None) -> Task:
    """The task of that id, or a worker's latest, or its ``number``th. Raises UnknownTask, UnknownWorker."""
    if number is not None:
        return state.task(f"{state.worker(name).worker_id}.{number}")
    found = state.task_named(name)
    if found is None:
        raise UnknownTask(f"worker {name!r} has had no task yet: give it one with 'workers execute --worker'")
    return found


def _print_transcript(start: Start, task: Task) -> None:
    """What there is of a task, from its files."""
    from mahavishnu_core.output import events_so_far

    transcript = Transcript(task, start.secrets)
    try:
        for events in events_so_far(start.app, task):
            transcript.add(events)
    except PluginError as error:
        raise PluginError(f"{error} '--raw' shows it as it is") from None
    transcript.end(start.state.result(task))


def _print_json(start: Start, task: Task) -> None:
    from mahavishnu_cli.redaction import Redactor
    from mahavishnu_core.events import TaskEvent
    from mahavishnu_core.output import events_so_far

    redactor = Redactor(start.secrets)
    told: list[JSON] = []
    for seq, event in enumerate(chain.from_iterable(events_so_far(start.app, task)), 1):
        told += redactor.add(TaskEvent(task.worker_id, task.task_id, seq, event))
    told += redactor.rest(task.task_id)
    status = start.state.status(task).value
    emit_json({"worker_id": task.worker_id, "task_id": task.task_id, "status": status, "events": told})


async def _follow(start: Start, manager: WorkerManager, task: Task, *, raw: bool) -> int:
    if raw:
        await _follow_raw(manager, task)
        return 0
    transcript = Transcript(task, start.secrets)
    manager.observe(transcript.observe)
    await manager.recover()
    await manager.follow([task.task_id])
    if transcript.has_begun:
        transcript.end(start.state.result(task))
    else:  # another engine settled it before we could read along
        _print_transcript(start, task)
    return 0


async def _follow_raw(manager: WorkerManager, task: Task) -> None:
    ended = trio.Event()

    async def follow() -> None:
        await manager.recover()
        await manager.follow([task.task_id])
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        offset = 0
        while not ended.is_set():
            offset = _print_raw(task, offset)
            with trio.move_on_after(_LOOK_EVERY):
                await ended.wait()
        _print_raw(task, offset)


def _print_raw(task: Task, offset: int = 0) -> int:
    """Pass on what has come since ``offset``; up to where that is."""
    for chunk in _chunks(task, offset):
        emit_bytes(chunk)
        offset += len(chunk)
    return offset


def _chunks(task: Task, offset: int) -> Iterator[bytes]:
    try:
        descriptor = open_file(task, "stdout.jsonl")
    except FileNotFoundError:  # it has not been started
        return
    with os.fdopen(descriptor, "rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            yield chunk
