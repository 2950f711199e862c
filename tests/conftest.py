"""Fixtures for tests that start processes: a bench, and FIFOs by which they and a test can wait."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from mahavishnu_core.state import StateDir
from tests.keeping import Bench, Fifo


@pytest.fixture
def bench(state: StateDir, tmp_path: Path, nothing_left: None) -> Bench:
    """What a test needs to have commands run by a keeper of its own."""
    return Bench(state, tmp_path)


@pytest.fixture
def bare(bench: Bench) -> Bench:
    """The same on a machine without control groups."""
    return attrs.evolve(bench, has_groups=False)


@pytest.fixture(params=["with control groups", "without control groups"])
def either(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    """The same with and without control groups; what the test says has to hold in both cases."""
    return attrs.evolve(bench, has_groups=request.param == "with control groups")


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Fifo]:
    """Where commands tell the test something: ``echo here > bell``."""
    fifo = Fifo.make(tmp_path / "bell")
    yield fifo
    fifo.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Fifo]:
    """Where commands wait for the test: ``read _ < gate``."""
    fifo = Fifo.make(tmp_path / "gate")
    yield fifo
    fifo.close()


@pytest.fixture
def second_gate(tmp_path: Path) -> Iterator[Fifo]:
    """Another one: ``read _ < gate2``."""
    fifo = Fifo.make(tmp_path / "gate2")
    yield fifo
    fifo.close()


def pytest_collection_finish() -> None:
    """What is imported by now stays: no test has to look for garbage in it."""
    gc.collect()
    gc.freeze()
