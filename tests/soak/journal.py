"""What a soak knows to have been acknowledged: written down by the driver as soon as it sees it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import attrs

from mahavishnu_core import Task, WorkerResult
from mahavishnu_core.keeper.files import names
from mahavishnu_core.state import StateDir
from tests.faults.site import by_task

from .engines import Engine

_TASK_ID = re.compile(r"[a-z][a-z0-9]{7}\.\d+")


@attrs.define(eq=False)
class Journal:
    """Tasks and results as they were first seen. ``file`` has the same, for whoever looks into a failure."""

    file: IO[str]
    prompts: dict[str, str] = attrs.field(factory=dict)
    """Of tasks that are in the state directory, or were, as digests."""
    printed: set[str] = attrs.field(factory=set)
    """Tasks whose ids an engine has printed."""
    results: dict[str, str] = attrs.field(factory=dict)
    """Of tasks that have one, as digests."""
    shown: list[WorkerResult] = attrs.field(factory=list)
    """Results that engines have printed."""
    workers: dict[str, str] = attrs.field(factory=dict)
    """Those that have a task, with their types, as they were seen."""

    def look(self, state: StateDir) -> None:
        """Take in what is new in the state directory."""
        for worker_id in names(f"{state.root}/workers"):
            for task_id in names(f"{state.root}/workers/{worker_id}/tasks"):
                if task_id not in self.prompts:
                    self._see_task(state, state.task(task_id))
                if task_id not in self.results:
                    self._see_result(Path(f"{state.root}/workers/{worker_id}/tasks/{task_id}/result.json"))

    def listen(self, engine: Engine) -> Iterator[str]:
        """Take in what an engine has printed, once it has ended; what is wrong with that."""
        text = engine.out.decode("utf-8", "replace")
        match engine.given.style:
            case "ids":
                self._see_printed(engine, *_TASK_ID.findall(text))
            case "json" if text:
                yield from self._read_results(engine, text)
            case "jsonl":
                yield from self._read_events(engine, text)

    def _see_task(self, state: StateDir, task: Task) -> None:
        self.workers.setdefault(task.worker_id, state.worker(task.worker_id).type.name)
        self.prompts[task.task_id] = digest(task.prompt.encode("utf-8", "surrogatepass"))
        self._write("task", task.task_id, prompt=self.prompts[task.task_id])

    def _see_result(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            self.results[path.parent.name] = digest(path.read_bytes())
            self._write("result", path.parent.name, result=self.results[path.parent.name])

    def _see_printed(self, engine: Engine, *task_ids: str) -> None:
        self.printed |= {*task_ids}
        for task_id in task_ids:
            self._write("printed", task_id, engine=engine.number)

    def _read_results(self, engine: Engine, text: str) -> Iterator[str]:
        try:
            results = [WorkerResult.from_dict(result) for result in json.loads(text)]
        except ValueError as error:
            yield f"{engine}: its output is not JSON ({error}): {text[:200]!r}"
            return
        begun = [result for result in results if "task_id" in result.metadata]
        for result in by_task(begun).values():
            self._show(engine, result)

    def _read_events(self, engine: Engine, text: str) -> Iterator[str]:
        *lines, rest = text.split("\n")
        if rest and not engine.signals:
            yield f"{engine}: its last line is cut: {rest[:200]!r}"
        for line in lines:
            event = json.loads(line)
            if event["type"] == "result":
                self._show(engine, WorkerResult.from_dict(event))
            else:
                self._see_printed(engine, *{str(event["task_id"])} - self.printed)

    def _show(self, engine: Engine, result: WorkerResult) -> None:
        self._see_printed(engine, str(result.metadata["task_id"]))
        self.shown.append(result)

    def _write(self, what: str, task_id: str, **facts: object) -> None:
        self.file.write(json.dumps({"what": what, "task_id": task_id, **facts}) + "\n")
        self.file.flush()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
