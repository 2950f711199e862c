"""What the tests of the Session-Buddy storage share: a server to store in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from mahavishnu_core.app import App

from .buddy import HttpBuddy
from .mirroring import Mirror


@pytest.fixture
def buddy() -> Iterator[HttpBuddy]:
    """A Session-Buddy that runs, with nothing wrong but what is wrong with the real one."""
    with closing(HttpBuddy()) as buddy:
        buddy.start()
        yield buddy


@pytest.fixture
def mirror(app: App, buddy: HttpBuddy, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """An app that mirrors into the buddy."""
    mirror = Mirror(app, buddy, monkeypatch)
    mirror.app.state.prepare()
    mirror.set(integration="true", url=buddy.url)
    return mirror
