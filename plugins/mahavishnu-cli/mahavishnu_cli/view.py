"""The live view: a table on the terminal with a line for each worker, and the table that sums up at the end.

And the bar that shows how far storages have got with sending results on.

rich is imported when there is something to show: it takes longer to load than all the rest.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import attrs
import trio

from mahavishnu_cli import words
from mahavishnu_cli.streams import give_up
from mahavishnu_core import WorkerStatus
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from mahavishnu_cli.progress import Reports
    from mahavishnu_core import WorkerResult
    from mahavishnu_core.report import WorkerReport

_EVERY = 1 / 8
_SHARE = 4
"""A picture that took t seconds to make is followed by a pause of at least 4 t."""
_STYLES = {
    WorkerStatus.COMPLETED: "green",
    WorkerStatus.FAILED: "red",
    WorkerStatus.TIMEOUT: "red",
    WorkerStatus.CANCELLED: "yellow",
    WorkerStatus.RUNNING: "cyan",
}
_PREVIEW = 200
_FRAME = 5
"""Lines that are no workers: header, caption, notice, and room for the prompt."""
_MOST_ENDED = 200
_LIVE = ("worker", "type", "status", "time", "activity", "tokens", "cost")
_SUMMARY = ("worker", "status", "time", "tokens", "cost", "reason", "first line")
_NARROW = 70
"""Columns of a terminal below which a table has few."""
_SAYS_LEAST = {"type", "tokens", "cost", "reason"}


@attrs.define(eq=False)
class LiveView:
    """Shows the workers under way, and the last that ended, as far as the terminal is high."""

    _reports: Reports
    _total: int
    begun: set[str] = attrs.field(factory=set)
    _running: dict[str, None] = attrs.field(factory=dict)
    """Workers under way, in order."""
    _ended: deque[WorkerReport] = attrs.field(factory=lambda: deque(maxlen=_MOST_ENDED))
    _successful: int = 0
    _failed: int = 0
    _notice: str = ""

    def begin(self, worker_id: str) -> None:
        self.begun.add(worker_id)
        self._running[worker_id] = None
        self._notice = ""  # what it waited for is there

    def end(self, result: WorkerResult) -> None:
        self._running.pop(result.worker_id, None)
        self._ended.extend(self._reports.monitor_workers([result.worker_id]))
        self._successful += result.is_success()
        self._failed += not result.is_success()

    def notice(self, text: str) -> None:
        self._notice = text

    async def run(self) -> None:
        from rich.live import Live

        with _for_a_reader(), Live(console=_console(), auto_refresh=False, transient=True) as live:
            await self._refresh(live)

    async def _refresh(self, live: Live) -> None:
        while True:
            began = trio.current_time()
            live.update(self._picture(live.console), refresh=True)
            await trio.sleep(max(_EVERY, _SHARE * (trio.current_time() - began)))

    def _picture(self, console: Console) -> Table:
        room = max(console.height - _FRAME, 1)
        reports = self._reports.monitor_workers(list(self._running)[:room])
        left = room - len(reports)
        shown = (*list(self._ended)[-left:], *reports) if left else reports
        picture = _grid(_LIVE, map(_row, shown), console.width)
        picture.caption = self._caption()
        picture.caption_justify = "left"
        return picture

    def _caption(self) -> Text:
        running = len(self._running)
        waiting = self._total - running - self._successful - self._failed
        parts = {
            "waiting": waiting,
            "under way": running,
            "successful": self._successful,
            "failed": self._failed,
        }
        counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        caption = _text("\n".join(filter(None, (counts, self._notice))), "dim")
        caption.no_wrap, caption.overflow = True, "ellipsis"
        return caption


@attrs.define(eq=False)
class SendingBar:
    """Shows how far storages have got with sending results, and what they wait for meanwhile."""

    _done: int = 0
    _total: int | None = None
    _notice: str = ""

    def told(self, done: int, total: int) -> None:
        self._done, self._total, self._notice = done, total, ""

    def notice(self, text: str) -> None:
        self._notice = text

    async def run(self) -> None:
        """Show it until cancelled."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        notice = TextColumn("{task.description}", markup=False)
        columns = BarColumn(), MofNCompleteColumn(), notice
        bar = Progress(*columns, console=_console(), transient=True, auto_refresh=False)
        with _for_a_reader(), bar:
            sending = bar.add_task("", total=None)
            while True:
                said = self._notice or "sending results"
                bar.update(sending, completed=self._done, total=self._total, description=said, refresh=True)
                await trio.sleep(_EVERY)


@contextmanager
def _for_a_reader() -> Iterator[None]:
    """Write to the terminal; when it is closed the work goes on."""
    try:
        yield
    except OSError as error:
        give_up(sys.stderr, error)


def print_summary(results: Sequence[WorkerResult]) -> None:
    """The table that sums up, on standard error."""
    console = _console()
    with _for_a_reader():
        console.print(_grid(_SUMMARY, map(_sum, results), console.width))


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _grid(columns: Sequence[str], rows: Iterable[Mapping[str, Text]], width: int) -> Table:
    """Rows as a table, by the names of its columns. On a narrow terminal those go that say least."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    shown = [name for name in columns if width >= _NARROW or name not in _SAYS_LEAST]
    for name in shown:
        is_long = name in {"activity", "first line"}
        is_number = name in {"time", "tokens", "cost"}
        grid.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if is_long else None,
            justify="right" if is_number else "left",
        )
    for row in rows:
        grid.add_row(*(row[name] for name in shown))
    return grid


def _row(report: WorkerReport) -> Mapping[str, Text]:
    return {
        "worker": _text(report.worker_id),
        "type": _text(report.worker_type),
        "status": _text(report.status.value, _STYLES.get(report.status, "")),
        "time": _text(words.duration(report.elapsed_seconds)),
        "activity": _text(one_line(report.activity, _PREVIEW)),
        "tokens": _text(words.tokens(report.tokens)),
        "cost": _text("" if report.cost_usd is None else words.cost(report.cost_usd)),
    }


def _sum(result: WorkerResult) -> Mapping[str, Text]:
    usage = cast("dict[str, int] | None", result.metadata.get("usage"))
    said = result.output if result.is_success() else result.error
    return {
        "worker": _text(result.worker_id),
        "status": _text(result.status.value, _STYLES.get(result.status, "")),
        "time": _text(words.duration(result.duration_seconds or None)),
        "tokens": _text(words.tokens(sum(usage.values())) if usage else "unknown"),
        "cost": _text(words.cost(cast("float | None", result.metadata.get("cost_usd")))),
        "reason": _text(str(result.metadata.get("reason") or "")),
        "first line": _text(one_line((said or "").strip().partition("\n")[0], _PREVIEW)),
    }


def _text(content: str, style: str = "") -> Text:
    """Text as it is: nothing in it is markup, whoever wrote it."""
    from rich.text import Text

    return Text(content, style)
