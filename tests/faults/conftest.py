"""What the tests of the fault matrix share: a user's corner of the machine, in which nothing may be left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import Site

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.fault)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Nothing of what is run here may be left in the end: no process, no half file, no task undone."""
    site = Site(tmp_path)
    yield site
    assert site.left() == []
