"""``replay``: a run that has been recorded, shown once more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from mahavishnu_cli.border import worst
from mahavishnu_cli.completing import type_names
from mahavishnu_cli.options import example, json_option, jsonl_option
from mahavishnu_cli.playback import Playback
from mahavishnu_cli.progress import on_terminal, open_progress
from mahavishnu_cli.raw_output import guess, read_raw
from mahavishnu_cli.recording import is_recorded, lines_in, read_recording
from mahavishnu_cli.show import Style, finish, style_of
from mahavishnu_cli.signals import heeding
from mahavishnu_cli.streams import complain, say
from mahavishnu_core.errors import UsageError
from mahavishnu_core.stream import LongLine, decode

if TYPE_CHECKING:
    from mahavishnu_cli.recording import Recording
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerResult, WorkerType

_SPEED = 50
_HEAD_BYTES, _HEAD_LINES = 4 << 20, 300
"""What is looked at to find out what a file is."""


@click.command(
    "replay",
    epilog=example(
        "mahavishnu workers execute -t shell -p 'make test' --jsonl > run.jsonl",
        "mahavishnu replay run.jsonl",
        "mahavishnu replay run.jsonl --speed 5",
        "mahavishnu workers logs --raw k3f9a2b1 | mahavishnu replay --type terminal-claude - --jsonl",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "-t",
    "--type",
    "type_name",
    shell_complete=type_names,
    metavar="NAME",
    help="Read FILE as the raw output of an agent of this worker type. Default: found out by what is in it.",
)
@click.option(
    "--speed",
    type=click.IntRange(1),
    metavar="EVENTS_PER_SECOND",
    help=f"How fast to go. Default: {_SPEED} on a terminal, else as fast as can be.",
)
@json_option("the results")
@jsonl_option
@click.pass_obj
def replay(
    start: Start, file: str, type_name: str | None, speed: int | None, as_json: bool, as_jsonl: bool
) -> int:
    """Show a recorded run once more, as it went.

    FILE is what --jsonl printed, of any number of workers, or the raw output of one agent; '-' is standard
    input. Nothing is run, and no worker is touched. Exit status 0 if all tasks in it completed. A task whose
    result is not in the file is judged by its events alone; of raw output nobody knows how its program ended.
    """
    style = style_of(as_json=as_json, as_jsonl=as_jsonl)
    recording = _open(start, file, type_name)
    for fault in recording.faults:
        complain(f"{_name(file)}: {fault}")
    if not recording.tracks and not recording.results:
        raise UsageError(f"{_name(file)} holds nothing that can be shown")
    speed = speed or (_SPEED if on_terminal() else None)
    return trio.run(_show, Playback(recording), speed, style, start.secrets)


async def _show(playback: Playback, speed: int | None, style: Style, secrets: tuple[str, ...]) -> int:
    results: list[WorkerResult] = []
    async with heeding() as interrupts:
        progress = open_progress(playback, playback.total, style, secrets)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(progress.run)
            results = await playback.play(progress, speed)
            nursery.cancel_scope.cancel()
    if interrupts.number is None:
        finish(results, style)
    return worst([interrupts.exit_status, *(not result.is_success() for result in results)])


def _open(start: Start, file: str, type_name: str | None) -> Recording:
    """What is in the file. Raises UsageError for one that cannot be read or makes no sense."""
    kind = None if type_name is None else start.catalog.get(type_name)
    data = _read(file)
    if not data or data.isspace():
        raise UsageError(f"{_name(file)} is empty: record a run with 'workers execute --jsonl > FILE'")
    if kind is not None:
        return _of_type(start, file, data, kind)
    head = _head(data)
    if any(map(_is_recorded, lines_in(head))):
        return read_recording(data)
    return _of_type(start, file, data, _guessed(start, file, head, is_whole=len(head) == len(data)))


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{_name(file)} cannot be read: {error.strerror}") from None


def _head(data: bytes) -> bytes:
    """Its first lines, which show what it is."""
    head = data[:_HEAD_BYTES]
    rest = head.split(b"\n", _HEAD_LINES)[_HEAD_LINES:]
    return head[: len(head) - len(rest[0])] if rest else head


def _is_recorded(line: bytes | LongLine) -> bool:
    data = "" if isinstance(line, LongLine) else decode(line)
    return not isinstance(data, str) and is_recorded(data)


def _of_type(start: Start, file: str, data: bytes, kind: WorkerType) -> Recording:
    found = read_raw(start.app.host, kind, data)
    if found is None:
        raise UsageError(
            f"no line of {_name(file)} says anything to the agent {kind.agent!r}: "
            "leave --type out to have it found out what it is"
        )
    return found


def _guessed(start: Start, file: str, head: bytes, *, is_whole: bool) -> WorkerType:
    kinds = [entry.type for entry in start.catalog.entries if entry.unavailable is None]
    found = guess(start.app.host, kinds, head, is_whole=is_whole)
    if found is None:
        raise UsageError(
            f"{_name(file)} is neither what --jsonl prints nor the output of an agent that is installed: "
            "is it the right file? --type says whose plain lines it holds"
        )
    say(f"this looks like the output of {found.name!r}; --type says otherwise")
    return found


def _name(file: str) -> str:
    return "standard input" if file == "-" else repr(file)
