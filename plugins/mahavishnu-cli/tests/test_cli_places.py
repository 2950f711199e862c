"""What a place's plugin adds to commands: options of types, leftovers, diagnoses, and what is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from rich.console import Console

from mahavishnu_cli.notices import EVERY, NoticeLines
from mahavishnu_cli.view import LiveView
from tests.installed import opened

YARD = """
import os
from pathlib import Path

from mahavishnu_core import hookimpl

HOOK_API = 1
ROOMS = Path(os.environ["HOME"], "rooms")


@hookimpl
def worker_types():
    from mahavishnu_core import WorkerType

    yield WorkerType("yard", "generic", "yard", "cat")


@hookimpl
def place_options(place):
    if place != "yard":
        return None
    import attrs

    @attrs.frozen
    class YardOptions:
        image: str = "plain"

        def faults(self):
            if self.image == "none":
                yield "image", "must be an image"

    return YardOptions


@hookimpl
def spawn(engine, worker):
    return make(engine) if worker.type.place == "yard" else None


async def make(engine):
    import trio

    engine.notify("pulling\\x1b[2J an image")
    await trio.sleep(float(os.environ.get("YARD_SLEEP", 0)))
    return {}


@hookimpl
def close(worker):
    return give_back() if worker.type.place == "yard" else None


async def give_back():
    import trio

    from mahavishnu_core.errors import MissingError

    await trio.lowlevel.checkpoint()
    if (ROOMS / "stuck").exists():
        raise MissingError("the key is lost")


@hookimpl
def sweep(remove):
    return clean(remove)


async def clean(remove):
    import trio

    from mahavishnu_core.errors import MissingError
    from mahavishnu_core.models import Leftover

    await trio.lowlevel.checkpoint()
    if (ROOMS / "locked").exists():
        raise MissingError("the yard is locked")
    rooms = sorted(ROOMS.glob("*.room"))
    for room in rooms:
        if remove:
            room.unlink()
    return [Leftover(f"room {room.stem}", room.stem, "its worker is closed") for room in rooms]


@hookimpl
def diagnose(kinds):
    return look(kinds)


async def look(kinds):
    import trio

    from mahavishnu_core.health import Check

    await trio.lowlevel.checkpoint()
    if (ROOMS / "broken").exists():
        raise RuntimeError("no idea")
    mine = [kind for kind in kinds if kind.place == "yard"]
    return [
        Check("yard", "ok", "open"),
        Check("type shell", "problem", "none of its business"),
        *(Check(f"type {kind.name}", "warning", "no gate", "build one") for kind in mine),
    ]
"""
BOXED = """workers:
  - name: boxed
    agent: generic
    place: yard
    command_template: cat
    options:
"""


@pytest.fixture
def rooms(home, tmp_path):
    """The place ``yard`` is installed; rooms that are left over are files in this directory."""
    (home.path / "rooms").mkdir()
    with opened(tmp_path / "yard_site") as site:
        site.install("yard", YARD)
        yield home.path / "rooms"


def _checks(home) -> list[dict[str, str]]:
    return home.run("doctor", "--json").json["checks"]


# --- options


@pytest.mark.parametrize(
    "command", [["config", "check"], ["config", "show"], ["workers", "types"], ["doctor"]]
)
def test_wrong_options_are_faults_of_the_settings(home, rooms, command):
    home.write("conf/ecosystem.yaml", BOXED + "      imge: x\n      more: 1\n")
    ran = home.run("--config", "conf", *command)
    said = ran.out if command == ["doctor"] else ran.err
    assert ran.status == (3 if command == ["doctor"] else 2)
    file = "conf/ecosystem.yaml"
    assert f"{file}:7: workers.boxed.options.imge: is not known here (did you mean 'image'?)\n" in said
    assert f"{file}:8: workers.boxed.options.more: is not known here\n" in said


def test_options_are_shown_with_the_settings(home, rooms):
    home.write("conf/ecosystem.yaml", BOXED + "      image: mine\n")
    rows = home.run("--config", "conf", "config", "show").out.splitlines()
    (row,) = [row.split() for row in rows if row.startswith("workers.boxed.options")]
    assert row == ["workers.boxed.options.image", "conf/ecosystem.yaml", '"mine"']
    (kind,) = [
        each
        for each in home.run("--config", "conf", "workers", "types", "--json").json["types"]
        if each["name"] == "boxed"
    ]
    assert (kind["available"], kind["options"]) == (True, {"image": "mine"})


# --- leftovers


def test_health_names_what_is_left_over_and_what_to_do(home, rooms):
    (rooms / "7.room").touch()
    ran = home.run("workers", "health")
    assert ran.out.startswith("degraded: ")
    advice = "remove it with 'mahavishnu workers close --all'"
    assert f"left over: room 7: its worker is closed\n{advice}" in ran.out
    assert home.run("workers", "health", "--json").json["leftovers"] == ["room 7: its worker is closed"]


def test_health_says_that_a_place_cannot_say(home, rooms):
    (rooms / "locked").touch()
    ran = home.run("workers", "health")
    assert "not known what is left over: plugin 'yard': the yard is locked\n" in ran.out
    assert home.run("workers", "health", "--json").json["status"] == "degraded"


def test_closing_all_removes_what_is_left_over(home, rooms):
    (rooms / "7.room").touch()
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    would = home.run("workers", "close", "--all", "--dry-run")
    assert would.out == f"would close 1 worker: {worker_id}\nwould remove room 7: its worker is closed\n"
    dry = home.run("workers", "close", "--all", "--dry-run", "--json").json
    wet = home.run("workers", "close", "--all", "--json").json
    assert (
        dry
        == wet
        == {
            "closed": [worker_id],
            "already_closed": [],
            "removed": [{"name": "room 7", "worker_id": "7", "detail": "its worker is closed"}],
            "not_swept": [],
        }
    )
    (rooms / "8.room").touch()
    ran = home.run("workers", "close", "--all")
    assert (ran.status, ran.out) == (0, "closed 0 workers\nremoved room 8: its worker is closed\n")
    assert list(rooms.iterdir()) == []


def test_closing_one_leaves_what_is_left_over_and_a_dry_run_leaves_it_open(home, rooms):
    (rooms / "7.room").touch()
    (worker_id,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    assert home.run("workers", "close", worker_id, "--dry-run").out == f"would close 1 worker: {worker_id}\n"
    closed = home.run("workers", "close", worker_id, "--json").json
    assert closed == {"closed": [worker_id], "already_closed": []}
    assert (rooms / "7.room").exists()


def test_a_place_that_cannot_be_swept_ends_closing_all_in_1(home, rooms):
    (rooms / "locked").touch()
    ran = home.run("workers", "close", "--all")
    assert (ran.status, ran.out) == (1, "closed 0 workers\n")
    assert "plugin 'yard': the yard is locked" in ran.err


def test_a_worker_that_cannot_be_closed_is_named_and_keeps_no_other_open(home, rooms):
    (yard,) = home.run("workers", "spawn", "-t", "yard", "--json").json
    (shell,) = home.run("workers", "spawn", "-t", "shell", "--json").json
    (rooms / "stuck").touch()
    ran = home.run("workers", "close", "--all")
    assert (ran.status, ran.out) == (3, "closed 1 worker\n")
    assert f"worker '{yard}' cannot be closed: the key is lost" in ran.err
    assert [each["worker_id"] for each in home.run("workers", "list", "--json").json] == [yard]
    closed = home.run("workers", "close", yard, shell, "--json")
    assert (closed.status, closed.json["closed"], closed.json["already_closed"]) == (3, [], [shell])
    assert closed.json["not_closed"] == {yard: "the key is lost"}
    (rooms / "stuck").unlink()
    assert home.run("workers", "close", yard).status == 0


def test_a_batch_has_its_results_though_a_worker_cannot_be_closed(home, rooms):
    (rooms / "stuck").touch()
    home.write(
        "tasks.jsonl",
        '{"prompt": "x", "worker_type": "yard"}\n{"prompt": "echo mine", "worker_type": "shell"}\n',
    )
    ran = home.run("workers", "batch", "tasks.jsonl", "--json")
    assert "cannot be closed: the key is lost" in ran.err
    assert [result["metadata"]["reason"] for result in ran.json] == ["spawn", None]
    assert (ran.status, ran.json[1]["output"]) == (3, "mine")


# --- the doctor


def test_the_doctor_shows_what_plugins_find_in_place_of_its_own_word_on_their_types(home, rooms):
    found = {each["subject"]: each for each in _checks(home)}
    subjects = [each["subject"] for each in _checks(home)]
    assert (found["type yard"]["grade"], found["type yard"]["advice"]) == ("warning", "build one")
    assert found["yard"]["detail"] == "open"
    assert subjects.count("type yard") == 1
    assert subjects.count("type shell") == 2  # the place local is ours: beside our word, not in its place
    assert subjects.index("yard") > subjects.index("storages")


def test_a_warning_of_a_plugin_is_a_problem_for_the_default_type(home, rooms):
    home.run("config", "set", "worker_default_type", "yard")
    found = {each["subject"]: each for each in _checks(home)}
    assert found["type yard (default)"] == {
        "subject": "type yard (default)",
        "grade": "problem",
        "detail": "no gate",
        "advice": "build one; or choose another with 'mahavishnu config set worker_default_type NAME'",
    }


def test_the_doctor_warns_of_leftovers_and_of_plugins_that_cannot_say_how_they_are(home, rooms):
    (rooms / "7.room").touch()
    (rooms / "broken").touch()
    found = {each["subject"]: each for each in _checks(home)}
    assert (found["left over"]["grade"], found["left over"]["detail"]) == (
        "warning",
        "room 7: its worker is closed",
    )
    assert "'mahavishnu workers close --all'" in found["left over"]["advice"]
    assert (found["plugin yard"]["grade"], found["plugin yard"]["detail"]) == (
        "warning",
        "diagnose failed: RuntimeError: no idea",
    )
    assert found["type yard"]["detail"] == "agent generic in yard"


# --- what is being waited for


def test_what_is_waited_for_is_a_line_on_standard_error(home, rooms):
    ran = home.run("workers", "spawn", "-t", "yard", "-n", "3", "--json")
    assert (ran.status, len(ran.json)) == (0, 3)
    assert ran.err == "pulling\\x1b[2J an image\n" * 2  # the first, and the last that was held back


def test_what_is_waited_for_in_a_batch_is_a_line_on_standard_error(home, rooms):
    home.write("tasks.yaml", "- {prompt: a, worker_type: yard}\n")
    ran = home.run("workers", "batch", "tasks.yaml", "--json")
    assert ran.err.startswith("pulling\\x1b[2J an image\n")
    assert ran.json[0]["status"] == "failed"


def test_on_a_terminal_it_is_one_line_that_goes_again(home, rooms, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "yard_site"))
    process = home.start(
        *("workers", "spawn", "-t", "yard", "-n", "2"),
        **dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave),
        start_new_session=True,
    )
    seen = terminal.all()
    assert process.wait() == 0
    shown = "\r\x1b[2K\x1b[?7lpulling\\x1b[2J an image\x1b[?7h"
    assert seen.startswith(f"{shown}{shown}\r\x1b[2K\x1b[?7l\x1b[?7h")


async def test_lines_that_stay_come_every_few_seconds_and_the_last_one(autojump_clock, capsys):
    lines = NoticeLines()
    for number in range(12):
        lines.tell(f"{number} s")
        await trio.sleep(1)
    assert capsys.readouterr().err == "0 s\n5 s\n10 s\n"
    lines.look()
    assert capsys.readouterr().err == ""
    await trio.sleep(EVERY)
    lines.look()
    lines.settle()
    assert capsys.readouterr().err == "11 s\n"


class _NoReports:
    def monitor_workers(self, worker_ids):
        return []


def test_the_live_view_shows_what_is_waited_for_until_a_worker_begins(tmp_path: Path):
    view = LiveView(_NoReports(), 3)
    with (tmp_path / "screen").open("w") as screen:
        console = Console(file=screen, width=40, force_terminal=True)
        view.notice("pulling [red]an image[/] " + "x" * 60)
        console.print(view._picture(console))
        view.begin("k3f9a2b1")
        console.print(view._picture(console))
    before, after = (tmp_path / "screen").read_text().split("1 under way")
    assert "3 waiting" in before
    assert "pulling [red]an image[/] xxxxx" in before
    assert "…" in before
    assert "pulling" not in after
