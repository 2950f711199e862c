"""Fixtures of the tests with the real CLIs: a site of their own each, and the FIFOs in its workspace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.keeping import Fifo
from tests.real_cli.site import CLAUDE, QWEN, Agent, Site, require_in_path
from tests.scripted_model.server import ModelServer, serve


@pytest.fixture(scope="session")
def clis() -> None:
    """Both CLIs in PATH. Without them the tests are skipped, or fail where MAHAVISHNU_REQUIRE_CLIS is set."""
    require_in_path((CLAUDE, QWEN), "'nox -s real_clis' installs both and runs these tests")


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """The scripted model, one for all tests."""
    with serve() as server:
        yield server


@pytest.fixture
def site(clis: None, model: ModelServer, tmp_path: Path, nothing_left: None) -> Site:
    """A site on which nothing may be left running, the keeper included."""
    site = Site(tmp_path, model)
    site.prepare()
    return site


@pytest.fixture(params=[CLAUDE, QWEN], ids=lambda agent: agent.name)
def agent(request: pytest.FixtureRequest) -> Agent:
    """Each of the two."""
    return request.param


@pytest.fixture
def bell(site: Site) -> Iterator[Fifo]:
    """Where a command in the workspace tells the test something: ``echo here > bell``."""
    fifo = Fifo.make(site.work / "bell")
    yield fifo
    fifo.close()


@pytest.fixture
def gate(site: Site) -> Iterator[Fifo]:
    """Where it waits for the test: ``read _ < gate``."""
    fifo = Fifo.make(site.work / "gate")
    yield fifo
    fifo.close()


@pytest.fixture
def set_environ(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Makes an environment that of this process, for what runs here through the Python interface."""

    def set_environ(environ: Mapping[str, str]) -> None:
        for name in os.environ.keys() - environ.keys():
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)

    return set_environ
