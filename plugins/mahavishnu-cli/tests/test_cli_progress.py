"""Progress that programs report: in transcripts, plain lines and the live view, with nothing in it obeyed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mahavishnu_cli.progress import Lines
from mahavishnu_cli.transcript import piece
from mahavishnu_cli.view import LiveView
from mahavishnu_core import WorkerStatus
from mahavishnu_core.events import Progress, TaskEvent
from mahavishnu_core.report import WorkerReport
from mahavishnu_core.tally import Tally

HOSTILE = Progress("[red]step\x1b[2J\none", 0.4)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (Progress("compiling", 0.4), "% compiling (40%)"),
        (Progress("compiling"), "% compiling"),
        (Progress(fraction=1.0), "% 100%"),
        (Progress("two\nlines"), "% two\n% lines"),
        (Progress(), None),
    ],
)
def test_a_transcript_shows_how_far_it_is(event, shown):
    assert piece(event) == shown


def test_a_plain_line_tells_of_it(capsys):
    lines = Lines(reports=None, secrets=("a-secret-value",))
    for seq, event in enumerate([HOSTILE, Progress(), Progress("with a-secret-value")], 1):
        lines.observe(TaskEvent("ada", "ada.1", seq, event))
    assert capsys.readouterr().err.splitlines() == [
        r"ada progress: [red]step\x1b[2J one (40%)",
        "ada progress: with [redacted]",
    ]


def test_the_live_view_shows_the_latest():
    tally = Tally()
    tally.add([Progress("before", 0.1), HOSTILE])

    class Reports:
        def monitor_workers(self, worker_ids):
            return [
                WorkerReport(name, "shell", WorkerStatus.RUNNING, activity=tally.activity)
                for name in worker_ids
            ]

    view = LiveView(Reports(), 1)
    view.begin("ada")
    console = Console(width=100, file=io.StringIO())
    console.print(view._picture(console))
    assert r"[red]step\x1b[2J one (40%)" in console.file.getvalue()
