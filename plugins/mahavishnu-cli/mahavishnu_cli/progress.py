"""What is said about tasks while they run: plain lines, or on a terminal a live view."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import trio

from mahavishnu_cli.notices import NoticeLines
from mahavishnu_cli.show import Style, outcome
from mahavishnu_cli.streams import emit_json_line, output, say
from mahavishnu_cli.transcript import main_argument
from mahavishnu_core.events import Notice, TaskEvent, ToolCall
from mahavishnu_core.events import Progress as ProgressEvent
from mahavishnu_core.text import one_line, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mahavishnu_cli.redaction import Redactor
    from mahavishnu_core import WorkerResult
    from mahavishnu_core.report import WorkerReport

    Observer: TypeAlias = Callable[[TaskEvent], None]

_LOOK_EVERY = 0.25
_WIDTH = 80
_TELLING = {"retry", "rate_limit", "rate_limit_near", "permission_denied", "permission_request"}


class Reports(Protocol):
    """Knows how workers stand: a manager, or a recording that is played back."""

    def monitor_workers(self, worker_ids: Iterable[str], /) -> list[WorkerReport]: ...


class Watched(Reports, Protocol):
    """What also tells every event as it comes."""

    def observe(self, observer: Callable[[TaskEvent], None], /) -> None: ...


class Progress(Protocol):
    """Told what happens; ``run`` shows it until it is cancelled."""

    def begin(self, worker_id: str) -> None:
        """A worker has been given a task."""
        ...

    def end(self, result: WorkerResult) -> None:
        """A task has ended."""
        ...

    def notice(self, text: str) -> None:
        """Something is being waited for; what is told next takes its place."""
        ...

    async def run(self) -> None: ...


def open_progress(watched: Watched, total: int, style: Style, secrets: tuple[str, ...]) -> Progress:
    """The live view where there is a terminal to show it on, else lines. ``total`` is how many tasks come."""
    # workers given a task here: what others have left is settled meanwhile, and none of it is shown
    begun: set[str] = set()

    def observe(observer: Observer) -> None:
        watched.observe(lambda item: observer(item) if item.worker_id in begun else None)

    progress: Progress
    if on_terminal() and not (style == "jsonl" and output().isatty()):
        from mahavishnu_cli.view import LiveView

        progress = LiveView(watched, total, begun)
    else:
        progress = lines = Lines(watched, begun, secrets)
        observe(lines.observe)
    if style == "jsonl":
        from mahavishnu_cli.redaction import Redactor

        progress = printing = Printing(progress, Redactor(secrets))
        observe(printing.observe)
    return progress


def on_terminal() -> bool:
    """Whether standard error is a terminal on which the cursor can be moved."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@attrs.define(eq=False)
class Printing:
    """Every event as a line of JSON on standard output, beside what is shown anyway."""

    _shown: Progress
    _redactor: Redactor

    def begin(self, worker_id: str) -> None:
        self._shown.begin(worker_id)

    def observe(self, item: TaskEvent) -> None:
        for record in self._redactor.add(item):
            emit_json_line(record)

    def end(self, result: WorkerResult) -> None:
        for record in self._redactor.rest(str(result.metadata.get("task_id"))):
            emit_json_line(record)
        self._shown.end(result)

    def notice(self, text: str) -> None:
        self._shown.notice(text)

    async def run(self) -> None:
        await self._shown.run()


@attrs.define(eq=False)
class Lines:
    """One line on standard error for each thing that happens."""

    _reports: Reports
    begun: set[str] = attrs.field(factory=set)
    _secrets: tuple[str, ...] = ()
    _waiting: set[str] = attrs.field(factory=set)
    """Workers whose command was not seen running yet."""
    _notices: NoticeLines = attrs.field(factory=NoticeLines)

    def begin(self, worker_id: str) -> None:
        self.begun.add(worker_id)
        self._waiting.add(worker_id)

    def observe(self, item: TaskEvent) -> None:
        self._note_running(item.worker_id)
        match item.event:
            case ToolCall(name=name, input=data):
                self._say(item.worker_id, f"tool {name} {main_argument(data)}")
            case ProgressEvent(words=words) if words:
                self._say(item.worker_id, f"progress: {words}")
            case Notice(kind=kind, text=text) if kind in _TELLING:
                self._say(item.worker_id, f"{kind}: {text}")

    def end(self, result: WorkerResult) -> None:
        self._waiting.discard(result.worker_id)
        error = "" if result.is_success() or not result.error else f": {result.error}"
        self._say(result.worker_id, outcome(result) + error)

    def notice(self, text: str) -> None:
        self._notices.tell(text)

    async def run(self) -> None:
        try:
            while True:
                await trio.sleep(_LOOK_EVERY)
                self._notices.look()
                for report in self._reports.monitor_workers(self._waiting):
                    if report.elapsed_seconds is not None:
                        self._note_running(report.worker_id)
        finally:
            self._notices.settle()

    def _note_running(self, worker_id: str) -> None:
        if worker_id in self._waiting:
            self._waiting.discard(worker_id)
            self._say(worker_id, "running")

    def _say(self, worker_id: str, text: str) -> None:
        say(f"{worker_id} {one_line(redact(text, self._secrets), _WIDTH)}")
