"""The agent echo: its program says each prompt again, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import mahavishnu_core as core  # its names are loaded when they are first used: this costs next to nothing

HOOK_API = 1
PROGRAM = """python3 -c '
import json, sys
print(json.dumps({"text": sys.stdin.read()}))
print(json.dumps({"done": True}))'"""


@core.hookimpl
def worker_types() -> Iterable[core.WorkerType]:
    yield core.WorkerType("echo", agent="echo", command_template=PROGRAM, description="says its prompt again")


@core.hookimpl
def execute(worker: core.Worker, task: core.Task) -> core.Command | None:
    if worker.type.agent == "echo":
        return core.templates.command_from(worker.type.command_template, task.prompt)
    return None


@core.hookimpl
def parse_progress(worker: core.Worker, task: core.Task) -> core.Parser | None:
    return core.stream.GenericParser() if worker.type.agent == "echo" else None


@core.hookimpl
def samples() -> Iterable[core.testing.Sample]:
    return core.testing.samples_in(Path(__file__).parent / "samples", "echo")
