"""``results search``, ``show`` and ``sync``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from mahavishnu_core import Worker, WorkerManager, WorkerType
from mahavishnu_core.app import load_app
from mahavishnu_core.models import LogBatch, utc_now

BROKEN_STORAGE = """
import os
from mahavishnu_core import hookimpl
HOOK_API = 1

async def _keep(task):
    if os.path.exists({down!r}):
        raise OSError("the disk is on fire")

@hookimpl
def store_result(task):
    return _keep(task)
"""


@pytest.fixture
def down(home, plugin):
    """While this file is there, a storage that is installed beside the others keeps nothing."""
    path = home.path / "down"
    plugin("fragile", BROKEN_STORAGE.format(down=str(path)))
    return path


def test_results_are_found_by_the_words_of_prompts_and_outputs(home):
    home.execute("echo the quick brown fox")
    home.execute("echo lazy dog")
    ran = home.run("results", "search", "brown quick", "--json")
    assert [result["output"] for result in ran.json] == ["the quick brown fox"]
    assert len(home.run("results", "search", "echo", "--json").json) == 2
    assert len(home.run("results", "search", "echo", "--limit", "1", "--json").json) == 1
    assert "the quick brown fox" in home.run("results", "search", "fox").out


def test_a_search_says_when_it_does_not_show_all(home):
    home.run("workers", "execute", "-t", "shell", "-n", "2", "-p", "echo common")
    ran = home.run("results", "search", "common", "--limit", "1", "--json")
    assert len(ran.json) == 1
    assert "there are more than these 1: --limit shows more" in ran.err
    assert home.run("results", "search", "common", "--limit", "2").err == ""


def test_a_search_for_nothing_is_none(home):
    ran = home.run("results", "search", " ")
    assert (ran.status, ran.out) == (2, "")
    assert "say what to search for" in ran.err


def test_a_search_that_finds_nothing_says_so(home):
    ran = home.run("results", "search", "nothing-like-it")
    assert (ran.status, ran.out, ran.err) == (0, "", "nothing found\n")


def test_without_a_storage_that_can_search_one_is_recommended(home):
    ran = home.script("--no-plugins", "results", "search", "x")
    assert ran.status == 3
    assert "mahavishnu-sqlite" in ran.err


def test_a_result_is_shown_whole_with_its_evidence(home):
    worker_id = home.execute("echo out; echo err >&2; exit 5", "--json").json[0]["worker_id"]
    ran = home.run("results", "show", f"{worker_id}.1")
    assert ran.status == 1
    for said in (
        "failed (exit_status)",
        "exit_code = 5",
        "--- prompt\necho out;",
        "--- output\nout",
        "unknown",
    ):
        assert said in ran.out
    shown = home.run("results", "show", worker_id, "--json").json
    assert shown["prompt"] == "echo out; echo err >&2; exit 5"
    assert shown["result"]["exit_code"] == 5


def test_a_task_without_a_result_yet_is_shown_as_it_stands(home, waiting, bell, gate):
    task = home.detach(waiting)
    bell.heard()
    ran = home.run("results", "show", task["task_id"], "--json")
    text = home.run("results", "show", task["task_id"])
    gate.let_in()
    assert (ran.status, ran.json["status"], ran.json["result"]) == (1, "running", None)
    assert "is running" in text.err
    home.run("workers", "monitor", task["worker_id"])


@pytest.mark.thorough
def test_a_task_that_ended_unseen_is_settled_by_who_shows_it(home):
    task = home.leave("exit 3")
    ran = home.run("results", "show", task["task_id"], "--json")
    assert (ran.status, ran.json["status"]) == (1, "failed")


def test_a_storage_that_fails_is_named_and_ends_in_4_without_loss(home, down):
    down.write_text("")
    ran = home.script("workers", "execute", "-t", "shell", "-n", "1", "-p", "echo kept", "--json")
    assert ran.status == 4
    assert ran.json[0]["output"] == "kept"
    assert "storage 'fragile' could not keep the result of task" in ran.err
    assert "the disk is on fire" in ran.err
    assert home.script("results", "sync").status == 4
    down.unlink()
    ran = home.script("results", "sync", "--json")
    assert (ran.status, len(ran.json["stored"]), ran.json["not_stored"]) == (0, 1, [])
    assert home.script("results", "sync").out == "stored 0 results, 0 could not be kept\n"


def test_a_storage_that_is_installed_later_gets_what_there_is(home, plugin):
    home.execute("echo early")
    assert home.run("results", "sync").out == "stored 0 results, 0 could not be kept\n"
    plugin("fragile", BROKEN_STORAGE.format(down="/nowhere"))
    assert home.script("results", "sync").out == "stored 1 result, 0 could not be kept\n"


SEARCHES = """
from mahavishnu_core import WorkerResult, WorkerStatus, hookimpl
HOOK_API = 1
RUNNING = WorkerStatus.RUNNING

def piece(first, last, text):
    told = {{"worker_type": "debug-monitor", "log": {{"first": first, "last": last}}}}
    return WorkerResult("k3f9a2b1", RUNNING, output=text, metadata=told)

def task(name, text):
    return WorkerResult("k3f9a2b1", WorkerStatus.COMPLETED, output=text, metadata={{"task_id": name}})

async def _find():
    return {found}

@hookimpl
def store_result():
    return None

@hookimpl
def search_results():
    return _find()
"""


def test_lines_of_logs_are_found_after_results_with_their_numbers(home, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    home.execute("echo ready")
    trio.run(keep_lines, LogBatch(1, ("$ make", "ready hunter2hunter2"), utc_now()))
    trio.run(keep_lines, LogBatch(3, ("ready \x1b[2J",), utc_now()))
    ran = home.run("results", "search", "ready")
    heads = [line for line in ran.out.splitlines() if line.startswith("===")]
    assert heads[0].split()[2] == "shell"
    assert sorted(heads[1:]) == [
        "=== k3f9a2b1  debug-monitor  line 3 ===",
        "=== k3f9a2b1  debug-monitor  lines 1 to 2 ===",
    ]
    assert "\n2: ready [redacted]\n" in ran.out
    assert "ready \\x1b[2J\n" in ran.out
    (result, *pieces) = home.run("results", "search", "ready", "--json").json
    assert (result["status"], {piece["status"] for piece in pieces}) == ("completed", {"running"})
    assert [piece["metadata"]["log"]["first"] for piece in pieces] == [3, 1]
    assert len(home.run("results", "search", "ready", "--limit", "2", "--json").json) == 2


async def keep_lines(batch):
    worker = Worker("k3f9a2b1", WorkerType("debug-monitor", "generic"), Path("/repo"), batch.created)
    async with WorkerManager(load_app()) as manager:
        assert await manager.engine.store_log(worker, batch) == {"sqlite": None}


def test_what_several_storages_find_is_shown_once_where_the_first_has_it(home, plugin):
    plugin("one", SEARCHES.format(found="[task('t.1', 'one'), piece(1, 2, 'one'), piece(3, 3, 'one')]"))
    plugin("two", SEARCHES.format(found="[task('t.2', 'two'), task('t.1', 'two'), piece(3, 3, 'two')]"))
    ran = home.script("results", "search", "x", "--json")
    told = [
        (piece["metadata"].get("log") or piece["metadata"]["task_id"], piece["output"]) for piece in ran.json
    ]
    first, second = {"first": 1, "last": 2}, {"first": 3, "last": 3}
    assert told == [("t.1", "one"), (first, "one"), (second, "one"), ("t.2", "two")]
    assert len(home.script("results", "search", "x", "--limit", "2", "--json").json) == 2


def test_evidence_is_shown_as_json_and_an_unknown_cost_once(home):
    (result,) = home.execute("exit 3", "--json").json
    out = home.run("results", "show", result["worker_id"]).out
    (line,) = [line for line in out.splitlines() if line.startswith("  evidence: results = ")]
    assert json.loads(line.partition(" = ")[2])[0]["reason"] == "exit_status"
    assert "cost:       unknown\n" in out
