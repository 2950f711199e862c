"""Room that the keeper holds beyond the end of an output, and gives back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mahavishnu_core.keeper import room
from mahavishnu_core.keeper.room import AHEAD, Room, give_back

OPEN = Path("/proc/self/fd")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """On a file system that can hold room for a file, as nearly all can."""
    path = tmp_path / "stdout.jsonl"
    path.write_bytes(b"said so far")
    Room(str(path.parent)).keep_ahead()
    if held(path) < AHEAD:
        pytest.skip(f"the file system of {tmp_path} holds no room for files")
    give_back(str(tmp_path))
    return path


def held(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_room_is_held_beyond_the_end_and_given_back_and_the_output_stays_as_it_is(output: Path) -> None:
    held_for_it = Room(str(output.parent))
    held_for_it.keep_ahead()
    assert (held(output) >= AHEAD, output.read_bytes()) == (True, b"said so far")
    with output.open("ab") as file:
        file.write(b", and more")
    held_for_it.give_back()
    assert (held(output) < AHEAD // 2, output.read_bytes()) == (True, b"said so far, and more")


def test_more_is_held_only_when_half_of_it_is_used(output: Path) -> None:
    held_for_it = Room(str(output.parent))
    held_for_it.keep_ahead()
    begun = held(output)
    with output.open("ab") as file:
        file.write(bytes(AHEAD // 4))
    held_for_it.keep_ahead()
    assert held(output) == begun
    with output.open("ab") as file:
        file.write(bytes(AHEAD // 2))
    held_for_it.keep_ahead()
    assert held(output) > begun


def test_on_a_disk_that_is_nearly_full_nothing_is_held(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LEAST_FREE", 1 << 62)
    held_for_it = Room(str(output.parent))
    held_for_it.keep_ahead()
    assert held(output) < AHEAD


@pytest.mark.parametrize("kind", ["nothing", "link", "pipe", "directory"])
def test_what_a_command_puts_in_its_place_is_let_alone(output: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / output.name).write_bytes(b"mine")
    output.unlink()
    if kind == "link":
        output.symlink_to(other / output.name)
    elif kind == "pipe":
        os.mkfifo(output)
    elif kind == "directory":
        output.mkdir()
    Room(str(tmp_path)).keep_ahead()
    assert held(other / output.name) < AHEAD
    Room(str(other)).keep_ahead()
    give_back(str(tmp_path))
    assert held(other / output.name) >= AHEAD


def test_a_file_system_that_fails_costs_nothing_but_the_room(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "as NFS may say")

    monkeypatch.setattr(os, "fstatvfs", fail)
    before = len([*OPEN.iterdir()])
    Room(str(output.parent)).keep_ahead()
    assert (held(output) < AHEAD, len([*OPEN.iterdir()])) == (True, before)
