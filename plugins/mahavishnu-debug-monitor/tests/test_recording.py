"""The lines of a window get numbers, are written down and handed on; a full disk loses none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs
import pytest

from mahavishnu_debug_monitor import output
from mahavishnu_debug_monitor.output import Output
from mahavishnu_debug_monitor.recording import Recording
from mahavishnu_debug_monitor.storing import Storing
from mahavishnu_debug_monitor.windows.window import NewLines


@attrs.define(eq=False)
class FakeWindow:
    """Has shown what it is given."""

    news: list[NewLines] = attrs.field(factory=list)
    access: str = "nowhere"

    async def new_lines(self) -> NewLines:
        return self.news.pop(0) if self.news else NewLines(())


@attrs.define(eq=False)
class Desk:
    """What a test looks at."""

    window: FakeWindow
    storing: Storing
    recording: Recording
    path: Path

    def written(self) -> list[object]:
        return [
            (line["type"], line.get("number", line.get("count")), line.get("text"))
            for line in map(json.loads, self.path.read_text().splitlines())
        ]


@pytest.fixture
def desk(tmp_path: Path):
    window, path = FakeWindow(), tmp_path / "stdout.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    storing = Storing(None, lambda _: None)
    yield Desk(window, storing, Recording(window, Output(descriptor), storing), path)
    os.close(descriptor)


def handed_on(storing: Storing) -> list[tuple[int, str]]:
    return [(line.number, line.text) for line in storing._lines]


async def test_lines_are_numbered_over_all_captures(desk: Desk) -> None:
    desk.window.news = [NewLines(["one", "two"]), NewLines(["three"])]
    assert [await desk.recording.capture() for _ in range(3)] == [2, 1, 0]
    assert desk.written() == [("line", 1, "one"), ("line", 2, "two"), ("line", 3, "three")]
    assert handed_on(desk.storing) == [(1, "one"), (2, "two"), (3, "three")]


async def test_missing_lines_are_said_and_leave_a_gap_in_the_numbers(desk: Desk) -> None:
    desk.window.news = [NewLines(["one"]), NewLines(["nine"], missing=7)]
    assert [await desk.recording.capture() for _ in range(2)] == [1, 1]
    assert desk.written() == [("line", 1, "one"), ("missing", 7, None), ("line", 9, "nine")]
    assert handed_on(desk.storing) == [(1, "one"), (9, "nine")]


async def test_what_a_terminal_would_obey_is_written_as_escapes(desk: Desk) -> None:
    desk.window.news = [NewLines(["\x1b[2Jgone\u202e"])]
    await desk.recording.capture()
    assert handed_on(desk.storing) == [(1, "\\x1b[2Jgone\\u202e")]


async def test_a_full_disk_loses_no_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.write, [10]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(output.os, "write", write)
    desk.window.news = [NewLines(["one"]), NewLines(["two"])]
    assert await desk.recording.capture()
    assert not await desk.recording.capture()
    assert desk.window.news == [NewLines(["two"])], "the window keeps what cannot be written"
    room[0] = 1 << 20
    assert await desk.recording.capture()
    assert desk.written() == [("line", 1, "one"), ("line", 2, "two")]
