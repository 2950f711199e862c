"""Section C of the fault matrix: disks and databases that fail, and what was acknowledged all the same."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mahavishnu_core import WorkerStatus
from mahavishnu_core.testing.processes import keepers, wait_until_gone
from mahavishnu_sqlite.schema import MIGRATIONS, prepare
from tests.keeping import Fifo

from . import modes
from .disk import Disk, cannot, small_disk
from .site import Ran, Site, warnings
from .sweep import (
    PATIENCE,
    SYNCS,
    injecting,
    is_as_if_nothing_was,
    kept_are_there,
    stored,
    strace,
    sweep,
    taken_up,
    wait_until,
    with_engine_killed,
)

ONE_AT_A_TIME = {"MAHAVISHNU_MAX_CONCURRENT_WORKERS": "1"}


def database(site: Site) -> Path:
    return site.state / "results.sqlite3"


def shell(site: Site, prompt: str, **more: object) -> Ran:
    return site.execute("shell", prompt=prompt, **more)


def marked(site: Site) -> list[str]:
    """The tasks that an engine believes to be in the database."""
    return sorted(path.parents[1].name for path in site.state.glob("workers/*/tasks/*/stored/sqlite"))


def one_line(ran: Ran) -> str:
    """The one thing that a command says of what went wrong."""
    [line] = [line for line in ran.err.splitlines() if line.startswith("mahavishnu: ")]
    assert "Traceback" not in ran.err
    return line


# --- C1


@pytest.fixture
def disk(site: Site) -> Iterator[Disk]:
    """The state directory, on a disk of two megabytes."""
    with small_disk(site.state, "2m") as disk:
        yield disk


@contextmanager
def waiting_on(site: Site, disk: Disk, *prompts: str) -> Iterator[subprocess.Popen[str]]:
    """An engine whose tasks have written something and wait for ``gate`` and ``gate2``."""
    batch = site.work / "batch.json"
    batch.write_text(json.dumps([{"worker_type": "shell", "prompt": prompt} for prompt in prompts]))
    prefix = disk.prefix(site.work)
    with site.start("workers", "batch", str(batch), "--json", prefix=prefix) as engine:
        try:
            words = {prompt.split(";")[0].removeprefix("echo ") for prompt in prompts}
            wait_until(lambda: words <= {text.split("\n")[0] for text in outputs(disk)})
            yield engine
        finally:
            engine.kill()


def outputs(disk: Disk) -> list[str]:
    return [path.read_text() for path in disk.path.glob("workers/*/tasks/*/stdout.jsonl")]


def results(disk: Disk) -> dict[str, tuple[str, list[str]]]:
    """What the tasks on a disk have come to: their statuses, and who stores them, by the first word."""
    found = {}
    for path in disk.path.glob("workers/*/tasks/*/result.json"):
        result = json.loads(path.read_text())
        kept = sorted(mark.name for mark in path.parent.glob("stored/*"))
        found[str(result["output"]).split()[0]] = (result["status"], kept)
    return found


def half_files(disk: Disk) -> list[Path]:
    return [path for path in disk.path.rglob("*") if re.search(r"^\.|\.json\.\w+$", path.name)]


@pytest.fixture
def gates(site: Site) -> Iterator[tuple[Fifo, Fifo]]:
    """Where commands wait for a line: ``gate`` and ``gate2``."""
    made = (Fifo.make(site.root / "gate"), Fifo.make(site.root / "gate2"))
    yield made
    for gate in made:
        gate.close()


DONE = ("completed", ["sqlite"])


def test_c1_on_a_full_disk_nothing_is_lost_and_the_rest_is_stored_when_there_is_room(
    site: Site, disk: Disk, gates: tuple[Fifo, Fifo]
) -> None:
    seen = disk.prefix(site.work)
    assert shell(site, "echo early", prefix=seen).status == 0
    with waiting_on(site, disk, f"echo late; read _ < {site.root}/gate; exit 0") as engine:
        disk.fill()
        gates[0].let_in()
        err = engine.communicate(timeout=PATIENCE)[1]
    assert (engine.returncode, err.count("the disk is full: make room")) == (4, 1)
    assert "Traceback" not in err

    refused = shell(site, f"touch {site.root}/ran", prefix=seen)
    assert (refused.status, "the disk is full" in one_line(refused)) == (4, True)
    assert not (site.root / "ran").exists()

    disk.make_room()
    synced = site.run("results", "sync", prefix=seen)
    assert (synced.status, "0 could not be kept" in synced.out) == (0, True)
    assert results(disk) == {"early": DONE, "late": DONE}
    found = site.run("results", "search", "late", "--json", prefix=seen).results
    assert [(each.status, each.output) for each in found] == [(WorkerStatus.COMPLETED, "late")]
    assert half_files(disk) == []


def test_c1_a_result_says_that_there_may_have_been_no_room_for_its_output(
    site: Site, disk: Disk, gates: tuple[Fifo, Fifo]
) -> None:
    line = f"echo late; read _ < {site.root}/gate; head -c 9000 /dev/zero | tr '\\0' x; exit 0"
    with waiting_on(site, disk, line) as engine:
        disk.fill()
        gates[0].let_in()
        engine.communicate(timeout=PATIENCE)
    disk.make_room()
    seen = disk.prefix(site.work)
    assert shell(site, "echo early", prefix=seen).status == 0
    results = site.run("workers", "results", "--json", prefix=seen).results
    told = {str(each.output).split()[0]: warnings(each) for each in results}
    assert told == {"late": ["disk_full"], "early": []}


def test_c1_the_answer_of_an_agent_finds_the_room_that_was_held_for_it(
    site: Site, gates: tuple[Fifo, Fifo]
) -> None:
    site.offer("answers_late", env={"MAHAVISHNU_AGENT_GATE": f"{site.root}/gate"})
    with small_disk(site.state, "64m") as disk:
        seen = disk.prefix(site.work)
        words = ("workers", "execute", "-t", "answers-late", "-n", "1", "-p", "find me", "--json")
        with site.start(*words, prefix=seen) as engine:
            wait_until(lambda: [held for held in held_for_outputs(disk) if held >= 2**20])
            disk.fill()
            gates[0].let_in()
            assert "Traceback" not in engine.communicate(timeout=PATIENCE)[1]
        disk.make_room()
        assert site.run("results", "sync", prefix=seen).status == 0
        [found] = site.run("results", "search", "find me", "--json", prefix=seen).results
        assert (found.status, found.output) == (WorkerStatus.COMPLETED, "x" * 400_000)
        assert max(held_for_outputs(disk)) < 500_000, "the rest was given back"


def held_for_outputs(disk: Disk) -> list[int]:
    """Bytes that the outputs of tasks take of a disk."""
    return [path.stat().st_blocks * 512 for path in disk.path.glob("workers/*/tasks/*/stdout.jsonl")]


def test_c1_what_else_runs_when_the_disk_is_full_ends_well(
    site: Site, disk: Disk, gates: tuple[Fifo, Fifo]
) -> None:
    first = f"echo first; read _ < {site.root}/gate; exit 0"
    other = f"echo other; read _ < {site.root}/gate2; touch {site.root}/end; exit 0"
    with waiting_on(site, disk, first, other) as engine:
        disk.fill()
        gates[0].let_in()
        time.sleep(2)  # the first has ended, and there is no room for its result: nothing tells of it
        gates[1].let_in()
        engine.communicate(timeout=PATIENCE)
    assert (engine.returncode, (site.root / "end").exists()) == (4, True)
    disk.make_room()
    seen = disk.prefix(site.work)
    assert site.run("results", "sync", prefix=seen).status == 0
    assert results(disk) == {"first": DONE, "other": DONE}


def test_c1_a_database_that_has_no_room_is_named_and_filled_up_later(site: Site) -> None:
    limited = ("/bin/bash", "-c", 'ulimit -f 100; exec "$@"', "-")
    ran = shell(site, "seq 10000", prefix=limited)
    assert (ran.status, len(ran.result.output.splitlines())) == (4, 10_000), (
        "the result is shown all the same"
    )
    assert "storage 'sqlite' could not keep the result" in one_line(ran)
    assert "run 'mahavishnu results sync'" in one_line(ran)
    assert (marked(site), stored(site)) == ([], [])
    synced = site.run("results", "sync")
    assert (synced.status, synced.out.splitlines()[0]) == (0, "stored 1 result, 0 could not be kept")
    assert marked(site) == stored(site) == [ran.result.metadata["task_id"]]


# --- C2


FAULTS = {
    "sync fails": ("fdatasync", "error=EIO"),
    "write fails": ("pwrite64", "error=EIO"),
    "no room": ("pwrite64", "error=ENOSPC"),
}


def three_with(site: Site, calls: str, fault: str) -> Ran:
    """Three tasks, one after the other, with an engine below which the database's files fail."""
    assert shell(site, "echo early").status == 0
    files = [database(site), database(site).with_name("results.sqlite3-wal")]
    site.more |= ONE_AT_A_TIME
    items = [{"worker_type": "shell", "prompt": f"echo task {number}"} for number in range(3)]
    return site.batch(*items, prefix=injecting(calls, fault, *files))


@pytest.mark.parametrize(("calls", "fault"), FAULTS.values(), ids=FAULTS)
def test_c2_what_failed_once_is_not_acknowledged_and_the_next_is_kept(
    site: Site, calls: str, fault: str
) -> None:
    ran = three_with(site, calls, f"{fault}:when=1")
    assert [result.output for result in ran.results] == ["task 0", "task 1", "task 2"]
    first, *others = (str(result.metadata["task_id"]) for result in ran.results)
    assert ran.status == 4
    assert first in one_line(ran)
    assert not {first} & {*marked(site), *stored(site)}
    assert {*others} <= {*marked(site)} <= {*stored(site)}, "the database was opened anew"
    assert site.run("results", "sync").status == 0
    assert marked(site) == stored(site)
    assert len(stored(site)) == 4


@pytest.mark.parametrize(("calls", "fault"), FAULTS.values(), ids=FAULTS)
def test_c2_while_it_fails_nothing_is_acknowledged(site: Site, calls: str, fault: str) -> None:
    ran = three_with(site, calls, f"{fault}:when=1+")
    assert ran.status == 4
    assert [result.status for result in ran.results] == [WorkerStatus.COMPLETED] * 3
    assert ran.err.count("could not keep the result of task") == 3
    assert len(marked(site)) == 1
    assert kept_are_there(site)
    assert site.run("results", "sync").status == 0
    assert marked(site) == stored(site)
    assert len(stored(site)) == 4


# --- C3


@contextmanager
def held(site: Site) -> Iterator[sqlite3.Connection]:
    """The results database, locked by another program."""
    with closing(sqlite3.connect(database(site), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_c3_a_lock_of_three_seconds_is_not_noticed(site: Site) -> None:
    shell(site, "echo early")
    with held(site) as other:
        timer = threading.Timer(3, other.execute, ["ROLLBACK"])
        timer.start()
        ran = shell(site, "echo late")
        timer.join()
    assert (ran.status, "could not keep" in ran.err, len(stored(site))) == (0, False, 2)


def test_c3_a_lock_for_ever_costs_no_result_and_no_task_waits_for_it(site: Site) -> None:
    shell(site, "echo early")
    site.more |= ONE_AT_A_TIME
    with held(site):
        ran = shell(site, "echo late", count=3)
        assert len(marked(site)) == 1
    assert ran.status == 4
    assert [result.output for result in ran.results] == ["late"] * 3
    assert ran.err.count("database is locked") == 3
    assert ran.seconds < 25
    times = sorted(result.timestamp for result in ran.results)
    assert seconds_between(times[0], times[-1]) < 4, "the next begins while the first is being stored"
    assert site.run("results", "sync").status == 0
    assert len(marked(site)) == len(stored(site)) == 4


def seconds_between(earlier: str, later: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# --- C4


def random_bytes(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE results (mine)")


def from_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        prepare(connection, path)
        connection.execute("PRAGMA user_version = 99")


FOREIGN = {
    "random bytes": (random_bytes, "file is not a database): move it away"),
    "another program's": (of_another_program, "of another program and was left as it is: move it away"),
    "from the future": (from_the_future, "was left as it is: upgrade mahavishnu-sqlite"),
}


@pytest.mark.parametrize(("make", "advice"), FOREIGN.values(), ids=FOREIGN)
def test_c4_a_database_that_is_not_ours_is_named_and_left_as_it_is(
    site: Site, make: Callable[[Path], None], advice: str
) -> None:
    site.state.mkdir(mode=0o700)
    make(database(site))
    before = database(site).read_bytes()
    ran = shell(site, "echo hello")
    assert (ran.status, ran.result.output) == (4, "hello")
    assert str(database(site)) in one_line(ran)
    assert advice in one_line(ran)
    assert site.run("results", "sync").status == 4
    assert database(site).read_bytes() == before
    database(site).rename(site.root / "away")
    assert site.run("results", "sync").status == 0
    assert stored(site) == [ran.result.metadata["task_id"]]


def damage_a_page(path: Path) -> None:
    """One page, in the middle of the file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)


def checked(site: Site) -> list[tuple[str, str, str]]:
    """What ``doctor`` says of the database: grade, detail, advice."""
    checks = json.loads(site.run("doctor", "--json").out)["checks"]
    return [(each["grade"], each["detail"], each["advice"]) for each in checks if each["subject"] == "sqlite"]


def test_c4_a_database_with_a_damaged_page_is_named_left_as_it_is_and_made_anew(site: Site) -> None:
    shell(site, "head -c 200000 /dev/zero | tr '\\0' x", count=3)
    damage_a_page(database(site))
    before = database(site).read_bytes()
    ran = shell(site, "echo hello")
    assert (ran.status, ran.result.output) == (4, "hello")
    assert f"'{database(site)}' cannot be opened (it is damaged: " in one_line(ran)
    assert "): move it away, delete workers/*/tasks/*/stored/sqlite beside it" in one_line(ran)
    assert site.run("results", "search", "hello").status == 4
    [(grade, detail, _)] = checked(site)
    assert (grade, "it is damaged: " in detail, "move it away" in detail) == ("problem", True, True)
    assert database(site).read_bytes() == before

    database(site).rename(site.root / "away")
    for mark in site.state.glob("workers/*/tasks/*/stored/sqlite"):
        mark.unlink()
    assert site.run("results", "sync").status == 0
    assert len(marked(site)) == len(stored(site)) == 4
    assert [grade for grade, *_ in checked(site)] == ["ok"]


def test_c4_an_older_database_is_brought_up_to_date_after_a_backup(site: Site) -> None:
    site.state.mkdir(mode=0o700)
    with closing(sqlite3.connect(database(site), isolation_level=None)) as connection:
        prepare(connection, database(site), MIGRATIONS[:1])
    ran = shell(site, "echo hello")
    assert (ran.status, stored(site)) == (0, [ran.result.metadata["task_id"]])
    versions = []
    for path in (database(site), database(site).with_name("results.sqlite3.backup-v1")):
        with closing(sqlite3.connect(path)) as connection:
            versions += connection.execute("PRAGMA user_version").fetchone()
    assert versions == [len(MIGRATIONS), 1]


# --- C5


class _Fails(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def down() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@contextmanager
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def failing() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Fails) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("buddy", [down, silent, failing])
def test_c5_no_run_waits_for_session_buddy(site: Site, buddy: Callable[[], contextmanager[int]]) -> None:
    with buddy() as port:
        site.more |= {
            "MAHAVISHNU_SESSION_BUDDY_INTEGRATION": "true",
            "MAHAVISHNU_SESSION_BUDDY_URL": f"http://127.0.0.1:{port}/mcp",
        }
        ran = shell(site, "echo hello", count=3)
        assert (ran.status, [result.output for result in ran.results]) == (0, ["hello"] * 3)
        assert ran.seconds < 10
        assert len(stored(site)) == 3
        health = json.loads(site.run("workers", "health", "--json").out)
        assert [each["count"] for each in health["not_mirrored"]] == [3], "it is sent later"


# --- C6


LOOP = """
import trio
from mahavishnu_core import WorkerManager

async def count_stalls(stalls):
    while True:
        began = trio.current_time()
        await trio.sleep(0.01)
        if trio.current_time() - began > 0.15:
            stalls.append(trio.current_time() - began)

async def main():
    stalls = []
    async with WorkerManager() as manager, trio.open_nursery() as nursery:
        [worker] = await manager.spawn_workers("shell", 1)
        nursery.start_soon(count_stalls, stalls)
        for _ in range(20):
            await manager.execute_task(worker, "echo hello")
        assert not manager.storage_failures, manager.storage_failures
        nursery.cancel_scope.cancel()
    print(len(stalls))

trio.run(main)
"""


def test_c6_the_loop_does_not_wait_for_a_disk_that_takes_200_ms_to_sync(site: Site) -> None:
    shell(site, "echo early")
    slow = injecting("fdatasync", "delay_enter=200000")
    began = time.monotonic()
    words = [*slow, sys.executable, "-c", LOOP]
    done = subprocess.run(words, env=site.environ, cwd=site.work, capture_output=True, text=True, check=True)
    assert len(stored(site)) == 21
    assert time.monotonic() - began > 4, "it was that slow"
    assert int(done.stdout) < 10, "a loop that waits would do so twenty times"


def test_c6_a_reader_that_holds_a_transaction_keeps_nothing_waiting(site: Site) -> None:
    shell(site, "echo early")
    with closing(sqlite3.connect(database(site), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM results").fetchone() == (1,)
        ran = shell(site, "echo late", count=5)
        assert (ran.status, ran.err.count("could not")) == (0, 0)
        assert ran.seconds < 10
        assert len(site.stored("late")) == 5
        assert reader.execute("SELECT count(*) FROM results").fetchone() == (1,), "it sees what it saw"
    assert len(stored(site)) == 6


def test_c6_a_log_that_a_reader_lets_grow_is_named_until_it_is_emptied(site: Site) -> None:
    log = database(site).with_name("results.sqlite3-wal")
    shell(site, "echo early")
    with closing(sqlite3.connect(database(site), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM results").fetchone() == (1,)
        shell(site, "echo late")
        os.truncate(log, 384 * 2**20)  # what SQLite has written ends where it did
        ran = shell(site, "echo late")
        assert (ran.status, ran.err.count("note: sqlite: its write-ahead log has 384 MiB")) == (0, 1)
        health = json.loads(site.run("workers", "health", "--json").out)
        assert (health["status"], [each["storage"] for each in health["not_mirrored"]]) == (
            "degraded",
            ["sqlite"],
        )
        said = site.run("workers", "health").out
        assert "384 MiB" in said
        assert "close what reads results.sqlite3" in said
        assert [grade for grade, *_ in checked(site)] == ["ok", "warning"]
        reader.execute("ROLLBACK")
    assert shell(site, "echo late").err.count("note:") == 0
    assert json.loads(site.run("workers", "health", "--json").out)["status"] == "healthy"
    assert not log.exists()
    assert len(stored(site)) == 4


# --- C7


def test_c7_what_was_acknowledged_is_there_after_a_kill_at_any_sync(tmp_path: Path) -> None:
    for kill in sweep(tmp_path, SYNCS, lambda *where: with_engine_killed(*where, tasks=3)):
        for result in taken_up(kill):
            assert is_as_if_nothing_was(result), kill


# --- C8


def test_c8_a_state_directory_that_cannot_be_written_is_said_with_what_to_do(site: Site, disk: Disk) -> None:
    seen = disk.prefix(site.work)
    assert shell(site, "echo early", prefix=seen).status == 0
    assert wait_until_gone(lambda: keepers(site.state), PATIENCE) == []  # a disk in use stays writable
    disk.protect()
    ran = shell(site, "true", prefix=seen)
    assert ran.status == 4
    assert one_line(ran) == (
        f"mahavishnu: cannot write the state directory '{site.state}' (Read-only file system): "
        "make it writable, or name another one in MAHAVISHNU_STATE_DIR"
    )
    assert "completed" in site.run("workers", "list", prefix=seen).out, "what is there can be read"


NAMES = {"worker.json", "task.json", "launch.json", "exit.json", "result.json", "stdout.jsonl", "stderr.log"}
NAMES |= {"keeper.lock", "keeper.log", "results.sqlite3", "results.sqlite3-wal", "results.sqlite3-shm"}


def test_c8_without_a_home_it_is_said_what_to_set(site: Site) -> None:
    nobody = ["unshare", "-U", "--map-user=12345"]
    if subprocess.run([*nobody, "true"], capture_output=True, check=False).returncode != 0:
        cannot("nobody may have a user namespace here")
    site.root.chmod(0o755)
    for name in ("HOME", "MAHAVISHNU_STATE_DIR"):
        nobody += ["env", "-u", name]
    ran = shell(site, "true", prefix=nobody)
    assert (ran.status, "set HOME, or name one in MAHAVISHNU_STATE_DIR" in one_line(ran)) == (4, True)
    assert list(site.work.iterdir()) == []


def test_c8_whatever_the_umask_all_is_private_from_the_first_instant(site: Site) -> None:
    trace = site.root / "trace"
    prefix = (*strace(), "-o", str(trace), *modes.OPTIONS, "sh", "-c", 'umask 0; exec "$@"', "-")
    assert shell(site, "umask > umask", prefix=prefix).status == 0
    assert (site.work / "umask").read_text() == "0000\n"
    made = modes.made_in(site.state, trace.read_text())
    assert {re.sub(r"\.([0-9a-f]{12}|\d+)$", "", Path(path).name) for path in made} >= NAMES
    assert [f"{path} {mode:o}" for path, mode in made.items() if mode & 0o077] == []
    assert [path for path in site.state.rglob("*") if path.lstat().st_mode & 0o077] == []
