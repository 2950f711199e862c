"""The README's first command, as a new user gives it: in a fresh clone, with a fresh home and nothing set.

Run by ``nox -s readme``: it installs from the package index and takes its time. Needs pytest alone.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mahavishnu_core.testing.environs import MIRRORS_NOTHING

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0
"""Seconds in which what has nothing left to do must have gone."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("readme") / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(directory)], check=True)
    return directory


class FirstRun(NamedTuple):
    """The first block of the README, carried out to its end, and the results that it left."""

    commands: str
    process: subprocess.CompletedProcess[str]
    results: list[dict[str, str]]


@pytest.fixture(scope="module")
def first_run(clone: Path) -> Iterator[FirstRun]:
    block = re.search(r"^```sh\n(.*?)^```$", (clone / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    process = _run(clone, block[1])
    assert process.returncode == 0, process.stderr
    results = _run(clone, ".venv/bin/mahavishnu workers results --json")
    yield FirstRun(block[1], process, json.loads(results.stdout))
    for pid in _left_by(clone):
        os.kill(pid, signal.SIGKILL)


def _run(clone: Path, commands: str) -> subprocess.CompletedProcess[str]:
    home = clone.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        ["sh", "-ec", commands],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **MIRRORS_NOTHING},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_first_command_tells_of_three_successes(first_run: FirstRun) -> None:
    assert first_run.process.stdout.endswith("3 successful, 0 failed\n")


def test_it_shows_progress(first_run: FirstRun) -> None:
    assert len(re.findall(r"^\w{8} completed in ", first_run.process.stderr, re.MULTILINE)) == 3


def test_it_leaves_three_results(first_run: FirstRun) -> None:
    assert [result["status"] for result in first_run.results] == ["completed"] * 3
    assert [len(result["output"].splitlines()) for result in first_run.results] == [20] * 3


def test_it_may_be_given_again(clone: Path, first_run: FirstRun) -> None:
    assert _run(clone, first_run.commands).returncode == 0


def test_it_changes_nothing_in_the_clone(clone: Path, first_run: FirstRun) -> None:
    assert subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True).stdout == b""


def test_it_leaves_no_process(clone: Path, first_run: FirstRun) -> None:
    end = time.monotonic() + PATIENCE
    while (left := _left_by(clone)) and time.monotonic() < end:
        _wait_for(left[0], end - time.monotonic())
    assert [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left] == []


def _left_by(clone: Path) -> list[int]:
    """The processes that have the clone or the home in their command line, environment or directory."""
    mark = os.fsencode(clone.parent)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and mark in _words_of(pid)]


def _words_of(pid: int) -> bytes:
    try:
        process = Path(f"/proc/{pid}")
        files = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        return files + os.fsencode((process / "cwd").readlink())
    except OSError:
        return b""


def _wait_for(pid: int, seconds: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(seconds * 1000)
    os.close(descriptor)
