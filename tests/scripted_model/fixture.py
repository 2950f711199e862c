"""Fixtures of the scripted model; a test module asks for them by ``pytest_plugins = [...]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scripted_model import clients
from tests.scripted_model.server import ModelServer, serve


@pytest.fixture(scope="session")
def scripted_model() -> Iterator[ModelServer]:
    """A running server, shared by all tests: isolate counters by ``script+name``."""
    with serve() as server:
        yield server


@pytest.fixture
def claude_env(scripted_model: ModelServer) -> Callable[[str, Path], dict[str, str]]:
    """``claude_env(script, home)``: the variables of a ``claude`` that hears this script."""
    return lambda script, home: clients.claude_env(scripted_model.url(script), home)


@pytest.fixture
def qwen_env(scripted_model: ModelServer) -> Callable[[str, Path], dict[str, str]]:
    """``qwen_env(script, home)``: the same for a ``qwen``."""
    return lambda script, home: clients.qwen_env(scripted_model.url(script), home)
