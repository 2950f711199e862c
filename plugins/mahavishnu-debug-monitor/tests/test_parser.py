"""What the watcher puts out is read as it was meant."""

from __future__ import annotations

import json

import pytest

from mahavishnu_core import Exit
from mahavishnu_core.events import Event, Finished, Notice, Raw, Started, Text
from mahavishnu_debug_monitor import wire
from mahavishnu_debug_monitor.parser import Reader


def read(*lines: bytes) -> list[Event]:
    return list(Reader("w").feed([json.loads(line) for line in lines]))


def test_lines_are_words() -> None:
    assert read(wire.line(1, "one"), wire.line(2, "")) == [Text("one"), Text("")]


def test_the_window_is_the_start() -> None:
    events = read(wire.window("in tmux", ["iTerm2: it is off"]))
    assert events == [Notice("window", "in tmux (iTerm2: it is off)"), Started(session_id=None)]


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        (wire.missing(7, 1), Notice("missing", "at least 1 line is missing here")),
        (wire.missing(7, 12), Notice("missing", "at least 12 lines are missing here")),
        (wire.gone("its window was closed"), Notice("gone", "its window was closed")),
        (wire.stored({}), Notice("stored", "its lines go to no storage")),
        (
            wire.stored({"sqlite": None, "far": "it is down", "near": None}),
            Notice("stored", "its lines go to sqlite, near; far cannot: it is down"),
        ),
    ],
)
def test_all_else_are_notices(line: bytes, notice: Notice) -> None:
    assert read(line) == [notice]


def test_what_it_does_not_know_is_kept() -> None:
    strange = {"type": "line", "text": 3}
    assert list(Reader("w").feed([strange, "noise"])) == [Raw(strange), Notice("noise", "noise")]


@pytest.mark.parametrize(
    ("exit", "error"), [(Exit(0, cause="cancelled"), None), (Exit(), "its watcher was lost")]
)
def test_its_end_says_how_many_lines_there_are_and_where(exit: Exit, error: str | None) -> None:
    reader = Reader("w")
    list(reader.feed([{"type": "line", "text": "one"}, {"type": "gone", "reason": "so"}]))
    (finished,) = reader.end(exit, "")
    assert isinstance(finished, Finished)
    assert (finished.success, finished.error) == (False, error)
    assert finished.text == "1 line: see them with 'mahavishnu workers logs w'"
