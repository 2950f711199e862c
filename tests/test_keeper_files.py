"""Small files appear whole or not at all, and are read whole, however little the system takes at a time."""

from __future__ import annotations

import errno
import os

import pytest

from mahavishnu_core.keeper.files import publish, read_record

RECORD = {"text": "Grüße 漢字 " * 100}


def test_what_is_written_and_read_in_pieces_is_whole(tmp_path, monkeypatch):
    write, read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:7]))
    monkeypatch.setattr(os, "read", lambda file, most: read(file, min(most, 7)))
    publish(f"{tmp_path}/record.json", RECORD)
    assert read_record(f"{tmp_path}/record.json") == RECORD


@pytest.mark.parametrize("first_only", [False, True])
def test_of_what_finds_no_room_half_way_nothing_is_left(tmp_path, monkeypatch, first_only):
    write, taken = os.write, []

    def write_once(file: int, content: bytes) -> int:
        if taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(None)
        return write(file, content[:7])

    monkeypatch.setattr(os, "write", write_once)
    with pytest.raises(OSError, match="No space left"):
        publish(f"{tmp_path}/record.json", RECORD, first_only=first_only)
    assert [*tmp_path.iterdir()] == []


def test_what_is_there_stays_where_only_the_first_counts(tmp_path):
    publish(f"{tmp_path}/record.json", RECORD, first_only=True)
    with pytest.raises(FileExistsError):
        publish(f"{tmp_path}/record.json", {}, first_only=True)
    assert read_record(f"{tmp_path}/record.json") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
