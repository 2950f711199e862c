"""Fixtures of tests with real windows: tmux on sockets of the test's own, and a check that none is left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmux_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sockets of tmux lie, with a short path; nothing may be in it in the end."""
    directory = Path(tempfile.mkdtemp(prefix="mvt-", dir="/tmp"))
    monkeypatch.setenv("TMUX_TMPDIR", str(directory))
    yield directory
    left = [str(path) for path in directory.rglob("*") if not path.is_dir()]
    shutil.rmtree(directory)
    assert left == []
