"""What the keeper sees of a command without reading its output: silence, and an output that was closed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahavishnu_core.keeper.quiet import CLOSED_GRACE, STOPPED, Quiet
from mahavishnu_core.testing.processes import gone


def nobody() -> tuple[int, ...]:
    return ()


def looks(quiet: Quiet, until: float, leader: int, family: tuple[int, ...] = ()) -> tuple[float, str | None]:
    """Look whenever it is due, up to a moment; when something was reached, and what."""
    while (now := quiet.look_at) <= until:
        if cause := quiet.look(now, leader, lambda: family):
            return now, cause
    return until, None


# --- silence


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "stdout.jsonl"
    path.touch()
    return path


def test_silence_is_seen_within_an_eighth_of_its_time_and_never_early(output: Path) -> None:
    quiet = Quiet(str(output.parent), 80.0, 1000.0, needs_result=False)
    assert looks(quiet, 1050.0, 0) == (1050.0, None)
    output.write_text("a")
    assert quiet.look_at == 1060.0
    assert looks(quiet, 2000.0, 0) == (1140.0, "idle")


@pytest.mark.parametrize("name", ["stdout.jsonl", "progress.jsonl"])
def test_what_grows_is_not_silent(output: Path, name: str) -> None:
    quiet = Quiet(str(output.parent), 8.0, 0.0, needs_result=False)
    for _ in range(100):
        with (output.parent / name).open("a") as file:
            file.write("a")
        assert quiet.look(quiet.look_at, 0, nobody) is None


def test_a_look_that_comes_late_begins_the_silence_anew(output: Path) -> None:
    quiet = Quiet(str(output.parent), 8.0, 0.0, needs_result=False)
    late = 20.0
    assert late > quiet.look_at + STOPPED
    assert quiet.look(late, 0, nobody) is None
    assert looks(quiet, 100.0, 0) == (28.0, "idle")


def test_without_a_limit_nothing_is_ever_looked_at(output: Path) -> None:
    assert Quiet(str(output.parent), None, 0.0, needs_result=False).look_at == float("inf")


# --- an output that was closed


@pytest.fixture
def speaker(output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program with the output as its own."""
    with output.open("ab") as file, subprocess.Popen(["/bin/sleep", "60"], stdout=file) as process:
        yield process
        process.kill()


def test_an_output_that_its_program_has_open_is_not_closed(
    output: Path, speaker: subprocess.Popen[bytes]
) -> None:
    quiet = Quiet(str(output.parent), None, 0.0, needs_result=True)
    assert looks(quiet, 100.0, speaker.pid) == (100.0, None)


def test_an_output_is_closed_when_nobody_of_the_family_has_it(
    output: Path, speaker: subprocess.Popen[bytes]
) -> None:
    quiet = Quiet(str(output.parent), None, 0.0, needs_result=True)
    first = quiet.look_at
    with subprocess.Popen(["/bin/sleep", "60"]) as leader:
        assert looks(quiet, 50.0, leader.pid, (speaker.pid,)) == (50.0, None)
        first = quiet.look_at
        assert looks(quiet, 100.0, leader.pid) == (first + CLOSED_GRACE, "closed")
        leader.kill()


def test_whoever_only_reads_an_output_adds_nothing_to_it(output: Path) -> None:
    quiet = Quiet(str(output.parent), None, 0.0, needs_result=True)
    with output.open("rb") as file, subprocess.Popen(["/bin/sleep", "60"], stdin=file) as reader:
        assert looks(quiet, 100.0, reader.pid)[1] == "closed"
        reader.kill()


def test_of_a_process_that_shows_no_files_it_is_not_said_that_it_has_closed_them(output: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as of one whose main thread ended
        quiet = Quiet(str(output.parent), None, 0.0, needs_result=True)
        assert looks(quiet, 100.0, ended.pid) == (100.0, None)


# --- by the keeper


async def test_silence_ends_a_command_when_no_engine_is_there(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, "echo up; echo $$ > bell; exec sleep 60", idle=0.4)
        pid = int(await bell.line())
    await gone(pid)
    async with bench.link() as link:
        ended = await link.watch(run.task).wait()
    assert (ended.signal, ended.cause) == ("SIGTERM", "idle")
    assert 0.4 <= ended.duration_seconds < 5
