"""``plugins check`` as a program: what it says, and what it leaves when it is ended."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from mahavishnu_core.testing.processes import left_by_test, wait_until_gone

pytestmark = pytest.mark.contract

SECONDS = 20


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_neither_processes_nor_directories(home, monkeypatch, number, status):
    temporary = _temporary(home, monkeypatch)
    process = home.start("plugins", "check", "claude", "-k", "agent ")
    _until_agents_run(process, temporary)
    process.send_signal(number)
    ran = home.finish(process)
    assert (ran.status, ran.out) == (status, "")
    assert "Traceback" not in ran.err
    assert list(temporary.iterdir()) == []
    assert wait_until_gone(partial(left_by_test, home.path), seconds=SECONDS) == []


def test_a_job_in_the_background_of_a_script_is_ended_as_well(home, monkeypatch):
    """There, shells have Ctrl-C ignored."""
    temporary = _temporary(home, monkeypatch)
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    process = home.start("plugins", "check", "claude", "-k", "agent ", preexec_fn=ignoring)
    _until_agents_run(process, temporary)
    process.terminate()
    assert home.finish(process).status == 143
    assert list(temporary.iterdir()) == []
    assert wait_until_gone(partial(left_by_test, home.path), seconds=SECONDS) == []


def _temporary(home, monkeypatch):
    temporary = home.path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    return temporary


def _until_agents_run(process, temporary):
    """Wait until programs misbehave."""
    while process.poll() is None and not [*temporary.glob("*/state/workers/*/tasks/*/stdout.jsonl")]:
        os.sched_yield()


def test_a_reader_that_leaves_ends_it(home):
    process = home.start("plugins", "check", "claude")
    assert process.stdout.readline().startswith("pass")
    process.stdout.close()
    process.stdout = None
    ran = home.finish(process)
    assert (ran.status, ran.err) == (1, "")  # it did not come to the agents


def test_the_wait_for_the_agents_is_announced_once_and_not_with_json(home, monkeypatch):
    from mahavishnu_core.testing import Row

    rows = [Row(f"{kind}: agent {name}", "", lambda: "fine") for kind in ("ada", "bob") for name in "xyz"]
    monkeypatch.setattr("mahavishnu_core.testing.rows_for", lambda name: [Row("types", "", str), *rows])
    ran = home.run("plugins", "check", "both")
    assert ran.err.splitlines() == [
        f"3 programs misbehave in the place of the agent of {kind!r}: about 15 s" for kind in ("ada", "bob")
    ]
    assert home.run("plugins", "check", "both", "--json").err == ""
    assert home.run("plugins", "check", "both", "-k", "types").err == ""
