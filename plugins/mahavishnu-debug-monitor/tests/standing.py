"""Debug monitors in tests: started by an engine, written to through the log, looked at by their files."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from mahavishnu_core import Task, WorkerManager, WorkerResult, debug_log
from mahavishnu_core.app import App, load_app
from mahavishnu_core.debug_log import DebugLog, Entry
from mahavishnu_core.events import Notice, Text
from mahavishnu_core.keeper.family import snapshot
from mahavishnu_core.output import events_so_far
from mahavishnu_core.testing.processes import command_line, gone, keepers

LIMIT = 30
"""Seconds for what a test does with one monitor: far more than any needs."""


@attrs.define(eq=False)
class Monitor:
    """One monitor, and the engine that started it."""

    manager: WorkerManager
    worker_id: str

    @property
    def app(self) -> App:
        return self.manager.app

    @property
    def task(self) -> Task:
        return self.app.state.task(f"{self.worker_id}.1")

    @property
    def result(self) -> WorkerResult | None:
        return self.app.state.result(self.task)

    @property
    def watcher(self) -> int:
        """Its process."""
        return int(json.loads((self.task.directory / "launch.json").read_text())["pid"])

    def is_shown(self) -> bool:
        """Whether something still follows the log, in a window or without one."""
        log = str(debug_log.path_in(self.app.state.root)).encode()
        return any(log in command_line(pid) and b"tail" in command_line(pid) for pid in snapshot())

    def say(self, *words: str) -> None:
        """Write entries into the log."""
        log = DebugLog.open(self.app.state.root, ())
        log.write(*(Entry("said", facts={"words": each}) for each in words))

    def said(self) -> list[str]:
        """The words of those that it has recorded."""
        lines = [json.loads(text) for text in self.lines() if text.startswith("{")]
        return [line["words"] for line in lines if line["event"] == "said"]

    def lines(self) -> list[str]:
        return [event.text for event in self._events() if isinstance(event, Text)]

    def notices(self) -> dict[str, str]:
        """The last of each kind."""
        return {event.kind: event.text for event in self._events() if isinstance(event, Notice)}

    def _events(self) -> list[object]:
        return [event for events in events_so_far(self.app, self.task) for event in events]

    async def until(self, holds: Callable[[], object]) -> None:
        with trio.fail_after(LIMIT):
            while not holds():  # noqa: ASYNC110  # files give no event
                await trio.sleep(0.02)

    async def hear(self, *words: str) -> None:
        """Return when these are the words that it has recorded."""
        await self.until(lambda: len(self.said()) >= len(words))
        assert self.said() == [*words]

    async def ended(self) -> WorkerResult:
        """Its result, once it has ended by itself."""
        with trio.fail_after(LIMIT):
            return await self.manager.wait_for_task(self.task.task_id)

    async def close(self) -> WorkerResult:
        with trio.fail_after(LIMIT):
            await self.manager.close_worker(self.worker_id)
        result = self.result
        assert result is not None
        return result

    async def kill(self, pid: int) -> None:
        """Kill one of the processes of which it is made."""
        os.kill(pid, signal.SIGKILL)
        await gone(pid)

    async def kill_keeper(self) -> None:
        (keeper,) = keepers(self.app.state.root)
        await self.kill(keeper.pid)


def set_options(app: App, **options: str) -> App:
    """The app with these options of the type in the settings of the user whose home it is now."""
    directory = Path(app.environ["HOME"], ".config/mahavishnu")
    directory.mkdir(parents=True, exist_ok=True)
    worker = {"name": "debug-monitor", "agent": "debug-monitor", "options": options}
    (directory / "ecosystem.yaml").write_text(json.dumps({"workers": [worker]}))
    return load_app(environ=app.environ)


@asynccontextmanager
async def monitoring(app: App, window: str, directory: Path, **options: str) -> AsyncIterator[Monitor]:
    """A monitor with this window; whatever is left of it in the end is closed."""
    async with WorkerManager(set_options(app, window=window, **options)) as manager:
        with trio.fail_after(LIMIT):
            (worker_id,) = await manager.spawn_workers("debug-monitor", repo=directory)
        try:
            yield Monitor(manager, worker_id)
        finally:
            with trio.move_on_after(LIMIT, shield=True):
                await manager.close_all()
