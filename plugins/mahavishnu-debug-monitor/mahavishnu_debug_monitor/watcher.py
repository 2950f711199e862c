"""The watcher, a shim: ``watcher TASK_DIRECTORY WORKER_ID CONFIG_DIR WINDOW PROFILE``.

It opens the window, captures it every second, and ends when it is told to, or when the window is gone. See
``mahavishnu_core.places.Shim`` for what the keeper expects of it, and ``wire`` for what it puts out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs
import trio

from mahavishnu_core import WorkerManager, debug_log
from mahavishnu_core.app import load_app
from mahavishnu_core.errors import SettingsError, leaves
from mahavishnu_core.models import LogBatch
from mahavishnu_core.text import one_line
from mahavishnu_debug_monitor import wire
from mahavishnu_debug_monitor.following import follow
from mahavishnu_debug_monitor.options import MonitorOptions
from mahavishnu_debug_monitor.output import Output
from mahavishnu_debug_monitor.recording import Recording
from mahavishnu_debug_monitor.storing import Storing
from mahavishnu_debug_monitor.windows.choice import Wanted, open_window
from mahavishnu_debug_monitor.windows.window import WindowGone, WindowRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from mahavishnu_core import Worker
    from mahavishnu_core.app import App
    from mahavishnu_core.models import JSON
    from mahavishnu_debug_monitor.options import WindowKind

Keep: TypeAlias = Callable[[LogBatch], Awaitable[Mapping[str, "str | None"]]]

CAPTURE_EVERY = 1.0
_NICENESS = 10
_SOON = 0.1
_FLOOD = 1000
"""Lines at once after which the next look is soon: a window forgets."""
_FIRST_PATIENCE = 3.0
"""Seconds for the first lines to be shown and stored, before it is said that all is ready."""
_LAST_LOOK, _LAST_STORING = 2.0, 3.0
"""Seconds, in the end, for what is in the log to be shown, and for storing what is left."""
_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
_BLANK = " " * 4096


def main() -> None:
    directory, worker_id, config_dir, window, profile = sys.argv[1:]
    os.nice(_NICENESS)
    output = Output(os.dup(1))
    os.dup2(2, 1)  # what plugins print is none of it
    options = MonitorOptions(cast("WindowKind", window), profile)
    app = load_app(config_dir=Path(config_dir) if config_dir else None)
    watcher = Watcher(app, app.state.worker(worker_id), options, output)
    draft = Path(directory, "shim.json.part")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_BLANK)  # now: in the end the disk may be full
    try:
        report = trio.run(watcher.run)
    except BaseException as error:
        said = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))
        _leave(draft, {"error": one_line(f"the watcher failed: {said}"), "reason": "watcher"})
        raise
    _leave(draft, report)


@attrs.define(eq=False)
class Watcher:
    """One watcher from start to end."""

    _app: App
    _worker: Worker
    _options: MonitorOptions
    _output: Output
    _asked: trio.Event = attrs.field(factory=trio.Event)
    """Set when it is to end."""
    _at_once: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> dict[str, JSON]:
        """What is to be reported of its end: fields of ``Exit``."""
        report: dict[str, JSON] = {"exit_code": 0, "warnings": ["ended_at_once"]}
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals)
                with self._at_once:
                    report = await self._show()
                nursery.cancel_scope.cancel()
        return report

    async def _heed(self, signals: AsyncIterable[int]) -> None:
        async for number in signals:
            self._asked.set()
            if number == signal.SIGQUIT:
                self._at_once.cancel()

    async def _show(self) -> dict[str, JSON]:
        log = debug_log.DebugLog.open(self._app.state.root, ())
        log.write()  # so that there is a file to follow
        command = follow(log.path, debug_log.start_of_run(log.path))
        wanted = Wanted(self._worker.worker_id, command, os.environ, self._options)
        try:
            async with (
                open_window(wanted) as (window, refusals),
                open_storages(self._app, self._worker) as keep,
            ):
                log.write(self._opened(window.access))
                storing = Storing(keep, lambda outcome: self._output.write(wire.stored(outcome)))
                recording = Recording(window, self._output, storing)
                gone = await self._record(recording, storing, wire.window(window.access, refusals))
        except WindowRefused as error:
            return {"error": str(error), "reason": "no_window"}
        self._output.write()
        lacks = {
            "lines_not_stored": storing.lost or storing.waiting,
            "lines_not_written": self._output.is_stuck,
        }
        report: dict[str, JSON] = {"exit_code": 0, "warnings": [name for name, what in lacks.items() if what]}
        return report if gone is None else report | {"cause": "cancelled", "error": gone}

    def _opened(self, access: str) -> debug_log.Entry:
        worker_id = self._worker.worker_id
        return debug_log.Entry("monitor_opened", worker_id, plugin="debug-monitor", facts={"access": access})

    async def _record(self, recording: Recording, storing: Storing, ready: bytes) -> str | None:
        """Record until it is to end; why the window is gone, if it is."""
        gone = None
        async with trio.open_nursery() as nursery:
            try:
                with trio.move_on_after(_FIRST_PATIENCE):
                    while not await recording.capture() and not self._asked.is_set():
                        await self._pause(_SOON)
                    await storing.store()
                self._output.write(ready)
                nursery.start_soon(storing.serve)
                while not self._asked.is_set():
                    is_flood = await recording.capture() > _FLOOD
                    await self._pause(_SOON if is_flood else CAPTURE_EVERY)
                with trio.move_on_after(_LAST_LOOK):
                    await self._catch_up(recording)
            except WindowGone as error:
                gone = str(error)
                self._output.write(wire.gone(gone))
            nursery.cancel_scope.cancel()
        with trio.move_on_after(_LAST_STORING):
            await storing.store()
        return gone

    async def _catch_up(self, recording: Recording) -> None:
        """Capture until the window has shown what is the end of the log now."""
        end = debug_log.last_line(debug_log.path_in(self._app.state.root))
        await recording.capture()
        while not recording.has_shown(end):
            await trio.sleep(_SOON)
            await recording.capture()

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._asked.wait()


@asynccontextmanager
async def open_storages(app: App, worker: Worker) -> AsyncIterator[Keep]:
    """What has lines kept by all storages. Where the settings are wrong none is asked, and that is said."""
    if worker.workspace.is_dir():
        os.chdir(worker.workspace)  # a project has settings of its own
    try:
        manager = WorkerManager(app)
    except SettingsError as error:
        yield partial(_refuse, one_line(str(error)))
        return
    async with manager:
        yield partial(manager.engine.store_log, worker)


async def _refuse(reason: str, batch: LogBatch) -> Mapping[str, str | None]:
    await trio.lowlevel.checkpoint()
    return {"every storage": reason}


def _leave(draft: Path, report: dict[str, JSON]) -> None:
    """Write the report where room was kept for it."""
    with draft.open("r+") as file:
        file.write(json.dumps(report))
    draft.replace(draft.with_name("shim.json"))


if __name__ == "__main__":
    main()
