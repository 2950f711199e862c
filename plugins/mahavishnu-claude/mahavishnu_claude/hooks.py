"""The agent ``claude``: Claude Code in print mode, one process a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core import Command, Parser, Task, Worker, WorkerType
    from mahavishnu_core.testing import Sample

HOOK_API = 1


@hookimpl
def worker_types() -> Iterable[WorkerType]:
    from mahavishnu_core import WorkerType

    yield WorkerType(
        name="terminal-claude",
        agent="claude",
        command_template="claude --output-format stream-json --permission-mode acceptEdits",
        description="Claude Code; edits files, and runs what its permission mode allows",
        result_storage="session-buddy",
        install="npm install -g @anthropic-ai/claude-code",
        tells=(
            "session",
            "model",
            "partial_text",
            "thinking",
            "tool_calls",
            "tool_results",
            "subagents",
            "usage",
            "cost",
        ),
    )


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    if worker.type.agent != "claude":
        return None
    from mahavishnu_claude.command import command_for

    return command_for(worker.type, task)


@hookimpl
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    if worker.type.agent != "claude":
        return None
    if worker.type.is_plain:
        from mahavishnu_core.stream import LinesParser

        return LinesParser()
    from mahavishnu_claude.parser import ClaudeParser

    return ClaudeParser()


@hookimpl
def samples() -> Iterable[Sample]:
    from pathlib import Path

    from mahavishnu_core.testing import samples_in

    return samples_in(Path(__file__).parent / "samples", "terminal-claude")
