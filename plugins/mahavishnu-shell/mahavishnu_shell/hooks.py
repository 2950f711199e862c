"""The agent ``shell``: a prompt is a command line, its exit status the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Command, Parser, Task, Worker, WorkerType
    from mahavishnu_core.testing import Sample

HOOK_API = 1

_DEFAULT = "/bin/sh -c"


@hookimpl
def worker_types() -> Iterable[WorkerType]:
    from mahavishnu_core import WorkerType

    yield WorkerType(
        name="shell",
        agent="shell",
        command_template=_DEFAULT,
        progress_tracking="lines",
        description="runs each prompt as a command line; needs no model and no account",
    )


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    """The prompt becomes the last argument of the shell that the settings name."""
    if worker.type.agent != "shell":
        return None
    from mahavishnu_core import Command
    from mahavishnu_core.templates import words

    # a shell would take it for options of its own; to a space before it no command line gives a meaning
    line = f" {task.prompt}" if task.prompt.startswith(("-", "+")) else task.prompt
    return Command(argv=(*words(worker.type.command_template or _DEFAULT), line))


@hookimpl
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    if worker.type.agent != "shell":
        return None
    from mahavishnu_core.stream import LinesParser

    return LinesParser()


@hookimpl
def samples() -> Iterable[Sample]:
    from pathlib import Path

    from mahavishnu_core.testing import samples_in

    return samples_in(Path(__file__).parent / "samples", "shell")
