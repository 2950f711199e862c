"""The agent ``qwen``: Qwen Code without a terminal, one process a task."""

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
        name="terminal-qwen",
        agent="qwen",
        command_template="qwen -o stream-json --approval-mode yolo",
        description="Qwen Code; uses every tool without asking",
        result_storage="session-buddy",
        install="npm install -g @qwen-code/qwen-code",
        tells=(
            "session",
            "model",
            "partial_text",
            "thinking",
            "tool_calls",
            "tool_results",
            "subagents",
            "usage",
        ),
    )


@hookimpl
def execute(worker: Worker, task: Task) -> Command | None:
    if worker.type.agent != "qwen":
        return None
    from mahavishnu_qwen.command import command_for

    return command_for(worker.type, task)


@hookimpl
def parse_progress(worker: Worker, task: Task) -> Parser | None:
    if worker.type.agent != "qwen":
        return None
    if worker.type.is_plain:
        from mahavishnu_core.stream import LinesParser

        return LinesParser()
    from mahavishnu_qwen.parser import QwenParser

    return QwenParser(resumed=task.resume)


@hookimpl
def samples() -> Iterable[Sample]:
    from pathlib import Path

    from mahavishnu_core.testing import samples_in

    return samples_in(Path(__file__).parent / "samples", "terminal-qwen")
