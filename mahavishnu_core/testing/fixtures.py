"""Fixtures for pytest, opted into with ``pytest_plugins = ["mahavishnu_core.testing.fixtures"]``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from mahavishnu_core.app import App, load_app
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.environs import MIRRORS_NOTHING
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone

_PATIENCE = 8.0


def pytest_configure() -> None:
    """Whatever a test starts with the variables of this process is told as well."""
    os.environ.update(MIRRORS_NOTHING)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A state directory that is ready for use."""
    state = StateDir(tmp_path / "state")
    state.prepare()
    return state


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fail the test when a process of it is still there a while after its end, a keeper among them."""
    yield
    left = wait_until_gone(partial(left_by_test, tmp_path), seconds=_PATIENCE)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    if left:
        pytest.fail(f"left running: {', '.join(map(str, left))}")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> App:
    """The app as it is installed, with a home, settings and a state directory of the test's own."""
    for name in [name for name in os.environ if name.startswith(("MAHAVISHNU_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", str(tmp_path / "state"))
    for name, value in MIRRORS_NOTHING.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    return load_app(environ=os.environ)
