"""Broken: its worker type is sound, but its parser raises on every line."""

from __future__ import annotations

from collections.abc import Iterator

from mahavishnu_core import Command, Exit, Task, Worker, WorkerType, hookimpl

HOOK_API = 1


@hookimpl
def worker_types() -> Iterator[WorkerType]:
    yield WorkerType("bad-parser", "bad-parser", command_template="echo")


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    return Command(("echo", task.prompt)) if worker.type.agent == "bad-parser" else None


@hookimpl
def parse_progress(worker: Worker, task: Task) -> BadParser | None:
    return BadParser() if worker.type.agent == "bad-parser" else None


class BadParser:
    def feed(self, lines: object) -> list[object]:
        raise ValueError("cannot read this")

    def end(self, exit: Exit, stderr: str) -> list[object]:
        return []
