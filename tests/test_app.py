"""What every frontend asks of the app before it deals with workers."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from mahavishnu_core.errors import UsageError
from tests.fakes import app_of


def test_workers_may_be_used_unless_they_are_switched_off(tmp_path: Path) -> None:
    app_of(tmp_path).require_workers()


def test_switched_off_workers_are_refused_with_the_file_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config" / "mahavishnu" / "mahavishnu.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("workers_enabled: false\n")
    with pytest.raises(UsageError) as caught:
        app_of(tmp_path).require_workers()
    assert str(caught.value) == (
        f"workers are switched off by 'workers_enabled' in {file}: "
        "switch them on with 'mahavishnu config set workers_enabled true'"
    )


def test_switched_off_workers_are_refused_with_the_variable_that_says_so(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    app = attrs.evolve(app, environ={**app.environ, "MAHAVISHNU_WORKERS_ENABLED": "off"})
    with pytest.raises(UsageError, match="'workers_enabled' in MAHAVISHNU_WORKERS_ENABLED: switch them on"):
        app.require_workers()


def test_a_current_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    with pytest.raises(UsageError, match=r"^the current directory is gone: change to one that is there$"):
        app_of(tmp_path).require_workers()
