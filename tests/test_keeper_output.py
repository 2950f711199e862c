"""What the keeper sees of a command without reading its output: silence, and an output that was closed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mahavishnu_core.keeper.output import CLOSED_GRACE, OUTPUT_LIMIT, STOPPED, Output


def nobody() -> tuple[int, ...]:
    return ()


def looks(seen: Output, until: float, leader: int, family: tuple[int, ...] = ()) -> tuple[float, str | None]:
    """Look whenever it is due, up to a moment; when something was reached, and what."""
    while (now := seen.look_at) <= until:
        if cause := seen.look(now, leader, lambda: family):
            return now, cause
    return until, None


# --- silence


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "stdout.jsonl"
    path.touch()
    return path


def test_silence_is_seen_within_a_look_and_never_early(output: Path) -> None:
    seen = Output(str(output.parent), 80.0, 1000.0, needs_result=False)
    assert looks(seen, 1050.0, 0) == (1050.0, None)
    output.write_text("a")
    assert seen.look_at == 1051.25
    assert looks(seen, 2000.0, 0) == (1131.25, "idle")


@pytest.mark.parametrize("name", ["stdout.jsonl", "progress.jsonl"])
def test_what_grows_is_not_silent(output: Path, name: str) -> None:
    seen = Output(str(output.parent), 8.0, 0.0, needs_result=False)
    for _ in range(100):
        with (output.parent / name).open("a") as file:
            file.write("a")
        assert seen.look(seen.look_at, 0, nobody) is None


def test_a_look_that_comes_late_begins_the_silence_anew(output: Path) -> None:
    seen = Output(str(output.parent), 8.0, 0.0, needs_result=False)
    late = 20.0
    assert late > seen.look_at + STOPPED
    assert seen.look(late, 0, nobody) is None
    assert looks(seen, 100.0, 0) == (28.0, "idle")


def test_how_long_it_is_quiet_is_known_between_two_looks_too(output: Path) -> None:
    seen = Output(str(output.parent), None, 0.0, needs_result=False)
    assert looks(seen, 100.0, 0) == (100.0, None)
    assert seen.quiet_for(100.5) == 100.5
    output.write_text("a")
    assert (seen.quiet_for(100.6), seen.quiet_for(100.8)) == (0.0, pytest.approx(0.2))


# --- too much


@pytest.mark.parametrize("name", ["stdout.jsonl", "stderr.log"])
def test_more_than_may_be_put_out_is_seen(output: Path, name: str) -> None:
    seen = Output(str(output.parent), None, 0.0, needs_result=False)
    (output.parent / name).touch()
    os.truncate(output.parent / name, OUTPUT_LIMIT)
    assert looks(seen, 10.0, 0) == (10.0, None)
    os.truncate(output.parent / name, OUTPUT_LIMIT + 1)
    assert looks(seen, 20.0, 0)[1] == "output_limit"


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
    seen = Output(str(output.parent), None, 0.0, needs_result=True)
    assert looks(seen, 100.0, speaker.pid) == (100.0, None)


def test_an_output_is_closed_when_nobody_of_the_family_has_it(
    output: Path, speaker: subprocess.Popen[bytes]
) -> None:
    seen = Output(str(output.parent), None, 0.0, needs_result=True)
    first = seen.look_at
    with subprocess.Popen(["/bin/sleep", "60"]) as leader:
        assert looks(seen, 50.0, leader.pid, (speaker.pid,)) == (50.0, None)
        first = seen.look_at
        assert looks(seen, 100.0, leader.pid) == (first + CLOSED_GRACE, "closed")
        leader.kill()


def test_whoever_only_reads_an_output_adds_nothing_to_it(output: Path) -> None:
    seen = Output(str(output.parent), None, 0.0, needs_result=True)
    with output.open("rb") as file, subprocess.Popen(["/bin/sleep", "60"], stdin=file) as reader:
        assert looks(seen, 100.0, reader.pid)[1] == "closed"
        reader.kill()


@pytest.mark.parametrize("call", ["listdir", "stat"])
def test_what_may_not_be_seen_is_open(
    output: Path, speaker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """As of a process with other rights: its files may not be listed, or not be looked at."""
    seen = Output(str(output.parent), None, 0.0, needs_result=True)
    monkeypatch.setattr(os, call, partial(refuse, getattr(os, call), f"/proc/{speaker.pid}/fd"))
    assert looks(seen, 100.0, speaker.pid) == (100.0, None)


def refuse(call: Callable[..., object], below: str, path: str, **options: object) -> object:
    if path.startswith(below):
        raise PermissionError(path)
    return call(path, **options)


def test_a_command_that_is_hidden_from_us_is_not_said_to_have_closed_its_output(output: Path) -> None:
    nowhere = 1 << 30
    seen = Output(str(output.parent), None, 0.0, needs_result=True)
    assert looks(seen, 100.0, nowhere) == (100.0, None)
    with subprocess.Popen(["/bin/sleep", "60"]) as leader:
        assert looks(seen, 200.0, leader.pid, (nowhere,))[1] == "closed"
        leader.kill()


def test_of_a_process_that_shows_no_files_it_is_not_said_that_it_has_closed_them(output: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as of one whose main thread ended
        seen = Output(str(output.parent), None, 0.0, needs_result=True)
        assert looks(seen, 100.0, ended.pid) == (100.0, None)


# --- by the keeper


async def test_silence_ends_a_command_when_no_engine_is_there(bench, bell):
    ended = await bench.run_alone(bell, "echo up; echo $$ > bell; exec sleep 60", idle=0.4)
    assert (ended.signal, ended.cause) == ("SIGTERM", "idle")
    assert 0.4 <= ended.duration_seconds < 5


async def test_a_flood_is_ended_when_no_engine_is_there(bench, bell):
    await bench.start_keeper(
        "import mahavishnu_core.keeper.output as output; output.OUTPUT_LIMIT = 1_000_000"
    )
    ended = await bench.run_alone(bell, "echo $$ > bell; exec yes")
    assert (ended.signal, ended.cause) == ("SIGTERM", "output_limit")


async def test_an_engine_hears_how_long_a_command_is_quiet(bench, bell, gate):
    async with bench.link() as link:
        run = bench.sh(link, "sleep 0.3; echo up > bell; read _ < gate")
        await bell.line()
        async with bench.link() as other:
            found = other.watch(run.task)
            assert await found.state() == "running"
            assert 0.3 <= found.quiet_seconds < 20
        gate.let_in()
        await run.wait()
