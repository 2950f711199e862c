"""``workers logs``: what an agent put out, as a transcript or byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.completing import task_ids
from mahavishnu_cli.options import example
from mahavishnu_cli.streams import emit_bytes, say
from mahavishnu_cli.transcript import Transcript
from mahavishnu_core.errors import PluginError, UnknownTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_cli.start import Start
    from mahavishnu_core import Task, WorkerManager
    from mahavishnu_core.state import StateDir

_CHUNK = 1 << 18
_LOOK_EVERY = 0.1


@click.command(
    "logs",
    epilog=example(
        "mahavishnu workers logs k3f9a2b1",
        "mahavishnu workers logs -f k3f9a2b1",
        "mahavishnu workers logs k3f9a2b1 --task 2 --raw | jq -r .type",
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
@click.pass_obj
def logs(start: Start, name: str, follow: bool, raw: bool, number: int | None) -> int:
    """Show what an agent did, as a transcript.

    ID is that of a worker or of a task. Words of the agent stand as they are, with control characters made
    visible and known secrets taken out. '>' is a tool call, '<' what the tool answered ('!' where it
    failed), '~' thinking, '%' progress that a program reports, '*' a notice, '?' a line that is no event, '|'
    the work of a subagent.
    """
    state = start.state
    task = find_task(state, name, number)
    if follow and state.result(task) is None:
        return start.manage(lambda manager, _: _follow(start, manager, task, raw=raw))
    if raw:
        _print_raw(task)
    else:
        _print_transcript(start, task)
    if state.result(task) is None:
        say(f"task {task.task_id} has not ended: --follow goes on reading")
    return 0


def find_task(state: StateDir, name: str, number: int | None = None) -> Task:
    """The task of that id, or a worker's latest, or its ``number``th. Raises UnknownTask, UnknownWorker."""
    if "." in name and number is None:
        return state.task(name)
    worker = state.worker(name)
    if number is not None:
        return state.task(f"{worker.worker_id}.{number}")
    last = state.last_task(worker.worker_id)
    if last is None:
        raise UnknownTask(f"worker {name!r} has had no task yet: give it one with 'workers execute --worker'")
    return last


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


async def _follow(start: Start, manager: WorkerManager, task: Task, *, raw: bool) -> int:
    if raw:
        await _follow_raw(manager, task)
        return 0
    transcript = Transcript(task, start.secrets)
    manager.observe(transcript.observe)
    await manager.recover()
    await manager.follow([task.worker_id])
    if transcript.has_begun:
        transcript.end(start.state.result(task))
    else:  # another engine settled it before we could read along
        _print_transcript(start, task)
    return 0


async def _follow_raw(manager: WorkerManager, task: Task) -> None:
    ended = trio.Event()

    async def follow() -> None:
        await manager.recover()
        await manager.follow([task.worker_id])
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
        file = (task.directory / "stdout.jsonl").open("rb")
    except FileNotFoundError:  # it has not been started
        return
    with file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            yield chunk
