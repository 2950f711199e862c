"""A storage that sends results elsewhere in its own time: what waits is told, `results sync` sends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.installed import opened

MIRROR = """
import os
from pathlib import Path

from mahavishnu_core import hookimpl

HOOK_API = 1
ROOT = Path(os.environ["HOME"], "mirror")


@hookimpl
def store_result(task):
    return note(task.task_id)


async def note(task_id):
    (ROOT / "waiting" / task_id).touch()


@hookimpl
def backlog():
    (ROOT / "looked").touch()
    return look()


async def look():
    if (ROOT / "silent").exists():
        raise OSError("no\\nidea")
    return [standing()]


def standing():
    from mahavishnu_core.models import Backlog

    waiting = len(list((ROOT / "waiting").iterdir()))
    if not (ROOT / "away").exists():
        return Backlog("mirror", waiting)
    return Backlog("mirror", waiting, "it is\\naway", "start it", is_failing=(ROOT / "known").exists())


@hookimpl
def sync_results(engine, verify, told):
    return send(engine, verify, told)


async def send(engine, verify, told):
    import trio

    from mahavishnu_core.models import Synced

    if (ROOT / "silent").exists():
        raise OSError("no idea")
    if (ROOT / "away").exists():
        return [Synced((), standing())]
    sent = sorted(path.name for path in (ROOT / "waiting").iterdir())
    known = sorted(path.name for path in (ROOT / "sent").iterdir()) if verify else []
    lost = [task_id for task_id in known if not (ROOT / "there" / task_id).exists()]
    ids = [*sent, *lost]
    for done, task_id in enumerate(ids):
        told(done, len(ids))
        if (ROOT / "busy").exists():
            engine.notify("[red]another program is sending")
        if (ROOT / "slow").exists():
            await trio.sleep_forever()
        for name in ("sent", "there"):
            (ROOT / name / task_id).touch()
        (ROOT / "waiting" / task_id).unlink(missing_ok=True)
    told(len(ids), len(ids))
    return [Synced(tuple(ids), standing(), tuple(lost))]
"""
NOTE = "mahavishnu: note: 1 result is not in mirror yet: it is away -> start it\n"


@attrs.frozen
class Mirror:
    """The other side, as files: what waits, what was sent, what is there, and how it is."""

    home: Any
    root: Path

    def becomes(self, *states: str) -> None:
        """``away``, ``known`` (it has worked before), ``silent`` (the plugin raises), ``busy``, ``slow``."""
        for state in ("away", "known", "silent", "busy", "slow"):
            (self.root / state).unlink(missing_ok=True)
        for state in states:
            (self.root / state).touch()

    def misses(self, prompt: str) -> None:
        """Have a task end whose result the storage cannot take."""
        (self.root / "waiting").rmdir()
        assert self.home.execute(prompt).status == 4
        (self.root / "waiting").mkdir()

    def ids(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.root / name).iterdir())


@pytest.fixture
def mirror(home, tmp_path, monkeypatch):
    made = Mirror(home, home.path / "mirror")
    for name in ("waiting", "sent", "there"):
        (made.root / name).mkdir(parents=True)
    with opened(tmp_path / "mirror_site") as site:
        site.install("mirror", MIRROR)
        monkeypatch.setenv("PYTHONPATH", str(site.path))  # for programs that are started
        yield made


# --- results sync


def test_what_waits_is_sent(home, mirror):
    home.execute("echo one")
    home.execute("echo two")
    ran = home.run("results", "sync")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "stored 0 results, 0 could not be kept\nmirror: 2 sent, 0 waiting\n"
    assert len(mirror.ids("there")) == 2
    assert home.run("results", "sync").out.endswith("mirror: 0 sent, 0 waiting\n")


def test_what_is_lost_is_sent_again_where_that_is_asked_for(home, mirror):
    home.execute("echo one")
    home.run("results", "sync")
    (task_id,) = mirror.ids("there")
    (mirror.root / "there" / task_id).unlink()
    home.execute("echo two")
    ran = home.run("results", "sync")
    assert ran.out.endswith("mirror: 1 sent, 0 waiting\n")
    ran = home.run("results", "sync", "--verify")
    assert ran.out.endswith("mirror: 1 sent, 0 waiting, 1 of them had been lost\n")
    assert task_id in mirror.ids("there")
    (mirror.root / "there" / task_id).unlink()
    assert home.run("results", "sync", "--verify", "--json").json == {
        "stored": [],
        "not_stored": [],
        "mirrors": [
            {"storage": "mirror", "sent": [task_id], "lost": [task_id], "waiting": 0, "reason": None}
        ],
    }


@pytest.mark.parametrize(("states", "status"), [(["away"], 0), (["away", "known"], 4)])
def test_what_could_not_be_sent_is_told_with_what_to_do(home, mirror, states, status):
    home.execute("echo one")
    home.execute("echo two")
    mirror.becomes(*states)
    ran = home.run("results", "sync")
    assert (ran.status, ran.err) == (
        status,
        "mahavishnu: mirror: 2 results not sent: it is away -> start it\n",
    )
    assert ran.out.endswith("mirror: 0 sent, 2 waiting\n")
    ran = home.run("results", "sync", "--json")
    assert (ran.status, ran.err.count("\n")) == (status, 1)
    assert ran.json["mirrors"] == [
        {"storage": "mirror", "sent": [], "lost": [], "waiting": 2, "reason": "it is\naway"}
    ]


def test_a_storage_that_raises_is_named_and_ends_in_4(home, mirror):
    home.execute("echo one")
    mirror.becomes("silent")
    ran = home.run("results", "sync")
    assert (ran.status, ran.out) == (4, "stored 0 results, 0 could not be kept\n")
    assert ran.err == "mahavishnu: mirror: sync_results failed: OSError: no idea\n"


def test_what_is_stored_by_the_command_is_sent_by_it(home, mirror):
    mirror.misses("echo one")
    ran = home.run("results", "sync")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "stored 1 result, 0 could not be kept\nmirror: 1 sent, 0 waiting\n"


@pytest.mark.thorough
def test_without_such_a_storage_the_command_is_as_ever(home):
    home.execute("echo one")
    assert home.run("results", "sync", "--verify").out == "stored 0 results, 0 could not be kept\n"
    assert home.run("results", "sync", "--json").json["mirrors"] == []


# --- on a terminal


def test_a_bar_shows_how_far_the_sending_is_and_ctrl_c_ends_it_at_once(home, mirror, terminal):
    home.execute("echo one")
    mirror.becomes("slow")
    process = home.start("results", "sync", stderr=terminal.slave, start_new_session=True)
    terminal.until("sending results")
    terminal.until("0/1")
    os.killpg(process.pid, signal.SIGINT)  # what the terminal does with ^C
    assert process.wait() == 130
    assert "Traceback" not in terminal.all()
    assert process.communicate()[0] == "stored 0 results, 0 could not be kept\n"
    assert len(mirror.ids("waiting")) == 1


@pytest.mark.thorough
def test_the_bar_shows_what_is_waited_for_as_it_is(home, mirror, terminal):
    home.execute("echo one")
    mirror.becomes("busy", "slow")
    process = home.start("results", "sync", stderr=terminal.slave, start_new_session=True)
    terminal.until("[red]another program is sending")
    process.send_signal(signal.SIGTERM)
    terminal.all()
    assert process.wait() == 143
    process.communicate()


@pytest.mark.thorough
def test_the_bar_leaves_the_terminal_to_what_is_said_after_it(home, mirror, terminal):
    home.execute("echo one")
    process = home.start("results", "sync", stdout=terminal.slave, stderr=terminal.slave)
    seen = terminal.all()
    assert process.wait() == 0
    assert seen.rpartition("\x1b")[2].endswith("mirror: 1 sent, 0 waiting\r\n")


@pytest.mark.thorough
def test_without_a_terminal_nothing_moves(home, mirror):
    home.execute("echo one")
    mirror.becomes("busy")
    ran = home.script("results", "sync")
    assert (ran.status, ran.err) == (0, "[red]another program is sending\n")
    assert "\x1b" not in ran.out


# --- health


def test_health_tells_what_waits_and_why(home, mirror):
    assert "mirror" not in home.run("workers", "health").out
    home.execute("echo one")
    ran = home.run("workers", "health")
    assert ran.out.startswith("healthy: ")
    assert ran.out.endswith("mirror: 1 result not sent yet: on their way\n")
    mirror.becomes("away")
    ran = home.run("workers", "health")
    assert ran.out.startswith("healthy: ")
    assert ran.out.endswith("mirror: 1 result not sent yet: it is away -> start it\n")
    mirror.becomes("away", "known")
    ran = home.run("workers", "health")
    assert ran.out.startswith("degraded: ")
    assert (ran.status, ran.err) == (0, "")
    found = home.run("workers", "health", "--json").json
    assert (found["status"], found["not_mirrored"]) == (
        "degraded",
        [
            {
                "storage": "mirror",
                "count": 1,
                "reason": "it is\naway",
                "advice": "start it",
                "is_failing": True,
            }
        ],
    )


def test_health_says_that_a_storage_cannot_say(home, mirror):
    mirror.becomes("silent")
    ran = home.run("workers", "health")
    assert ran.out.startswith("degraded: ")
    assert ran.out.endswith("mirror: backlog failed: OSError: no idea\n")


# --- after a run


@pytest.mark.parametrize("states", [[], ["away"], ["known"]])
def test_a_run_says_nothing_of_what_is_on_its_way_or_waits_for_a_server_that_never_was(home, mirror, states):
    mirror.becomes(*states)
    ran = home.execute("echo one")
    assert (ran.status, "note:" in ran.err) == (0, False)
    assert (mirror.root / "looked").exists()


def test_a_run_ends_with_a_note_where_the_sending_fails(home, mirror):
    mirror.becomes("away", "known")
    ran = home.execute("echo one", "--json")
    assert (ran.status, len(ran.json)) == (0, 1)
    assert ran.err.endswith(NOTE)
    file = home.write("tasks.yaml", "- {prompt: echo two, worker_type: shell}\n")
    ran = home.run("workers", "batch", str(file))
    assert ran.status == 0
    assert "note: 2 results are not in mirror yet: it is away -> start it\n" in ran.err


def test_a_run_ends_with_a_note_of_a_storage_that_cannot_say(home, mirror):
    mirror.becomes("silent")
    ran = home.execute("exit 3")
    assert ran.status == 1
    assert ran.err.endswith("mahavishnu: note: mirror: backlog failed: OSError: no idea\n")


def test_where_nothing_was_stored_nobody_is_asked(home, mirror):
    mirror.becomes("away", "known")
    ran = home.run("workers", "spawn", "-t", "shell")
    assert (ran.status, "note:" in ran.err) == (0, False)
    assert not (mirror.root / "looked").exists()


@pytest.mark.parametrize("command", [("workers", "health"), ("results", "sync")])
def test_a_command_that_tells_of_it_itself_adds_no_note(home, mirror, command):
    mirror.misses("echo one")
    mirror.becomes("away", "known")
    ran = home.run(*command)
    assert len(mirror.ids("waiting")) == 1  # this command has stored it
    assert "it is away -> start it" in ran.out + ran.err
    assert "note:" not in ran.err


@pytest.mark.thorough
def test_a_run_that_a_signal_ends_says_nothing_more(home, mirror, waiting, bell):
    mirror.becomes("away", "known")
    process = home.start("workers", "execute", "-t", "shell", "-n", "1", "-p", waiting)
    bell.heard()
    process.send_signal(signal.SIGINT)
    ran = home.finish(process)
    assert (ran.status, "note:" in ran.err) == (130, False)
    assert len(mirror.ids("waiting")) == 1  # it was stored all the same
