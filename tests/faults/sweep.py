"""SIGKILL at each step by which something is written down, a run for each, and what is left then.

The process dies in the moment in which it asks for the step, before that is done. What is swept:

- of an engine: each sync, rename, link and start of a process or thread; what it sends to its keeper; each
  opening and removal of a file of the database; each file and directory that it makes, and each file that it
  removes;
- of a keeper from when it listens: each rename, removal, start of a process and message; each file and
  directory that it makes of a task.

strace counts the calls of each thread for itself, and kills at the first that comes to the number. So what
the thread of the database does to its files is counted by file, and what is made, by all threads together,
in the process itself. Writes into files that are there already are not swept: only a sync makes them last.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

import mahavishnu_core
from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.testing.agents import agent
from mahavishnu_core.testing.processes import keepers, left_by_test, wait_until_gone

from .disk import cannot
from .site import CLEAN_WITHIN, GONE_WITHIN, Ran, Site

SYNCS = "fsync,fdatasync"
RENAMES = "rename,renameat,renameat2"
LINKS = "link,linkat"
REMOVALS = "unlink,unlinkat,rmdir"
OPENINGS = "open,openat"
MAKINGS = "makings"
"""Of files and directories, which no system call is for alone."""
SENDINGS = "sendto,sendmsg"
BIRTHS = "clone,clone3,fork,vfork"
PROMPT = "say hello"
PATIENCE = 20
"""Seconds for what takes a moment."""
_KEEPER = """
import sys
sys.path.append(sys.argv.pop(1))
import mahavishnu_core.keeper.main as keeper
keeper.main()
"""
_MORTAL = """
import os, sys
def die(event, args, left=[{number}]):
    path = str(args[0]) if args else ""
    makes = event == "os.mkdir" or (event == "open" and args[2] & os.O_CREAT)
    if makes and (path.startswith({below!r}) or path.endswith(".1")):
        left[0] -= 1
        if left[0] == 0:
            with open({note!r}, "w") as file:
                file.write(path)
            os.kill(os.getpid(), 9)
sys.addaudithook(die)
"""
"""Kills its process as that is about to make its n-th thing of the state or of a task, and notes which."""
_NEVER_BEGUN = "its engine ended before it could be started"
_WORKER_ID = re.compile(r"\b[a-z][0-9a-z]{7}\b")
_CHANCE = re.compile(r"(?<=\.json)\.\w+$|\.[0-9a-f]{12}\b")
_COUNTED = 'echo "$1" >> "$0" && shift && exec "$@"'
_MOST = 60
"""Calls of one kind in one run: far more than there are."""


@attrs.frozen
class Kill:
    """Which call a process was killed at, in a site of its own, and what came of its run."""

    calls: str
    number: int
    """The process's n-th of that kind."""
    site: Site
    ran: Ran
    is_over: bool
    """Whether there was no such call any more, so that nobody was killed."""

    def __str__(self) -> str:
        return f"{self.calls} {self.number}"


Run = Callable[[Site, str, int], tuple[Ran, bool]]
"""A run in a site, with somebody killed at a call; and whether nobody was."""


def sweep(root: Path, calls: str, run: Run) -> Iterator[Kill]:
    """A kill at the first of some system calls, at the second, and so on, until nobody was killed."""
    for number in count(1):
        assert number < _MOST, f"{calls}: there is no end"
        site = Site(root / f"{calls.partition(',')[0]}-{number}")
        site.settings({"counted": counted(site, "counted", agent("good"))})
        ran, is_over = run(site, calls, number)
        yield Kill(calls, number, site, ran, is_over)
        if is_over:
            assert number > 1, f"{calls}: there is no such call"
            return


def with_engine_killed(
    site: Site, calls: str, number: int, tasks: int = 1, file: str | None = None
) -> tuple[Ran, bool]:
    """A run whose engine is killed; its keeper is none of its children, and goes on.

    With ``file`` only calls count that are for this one of the state directory.
    """
    start_keeper(site)
    paths = [] if file is None else [site.state / file]
    ran = execute(site, tasks, prefix=injecting(calls, f"signal=KILL:when={number}", *paths))
    return ran, _has_survived(site, ran)


def with_engine_killed_making(site: Site, _: str, number: int) -> tuple[Ran, bool]:
    """The same, counted are the files and directories that the engine makes: see ``killed_at``."""
    start_keeper(site)
    code = site.root / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(_mortal(site, number))
    ran = execute(site, 1, env={**site.environ, "PYTHONPATH": str(code)})
    return ran, _has_survived(site, ran)


def _has_survived(site: Site, ran: Ran) -> bool:
    assert ran.status in {0, -9}, ran.err
    _call_keeper(site)
    return ran.status == 0


def with_keeper_killed(site: Site, calls: str, number: int) -> tuple[Ran, bool]:
    """A run whose keeper is killed, and which goes on."""
    trace = site.root / "trace"
    with injected(start_keeper(site), calls, f"signal=KILL:when={number}", trace) as tracer:
        ran = execute(site, 1)
        tracer.wait(CLEAN_WITHIN)  # until that keeper is gone, one way or another
    return ran, "killed by SIGKILL" not in trace.read_text()


def with_keeper_killed_making(site: Site, _: str, number: int) -> tuple[Ran, bool]:
    """The same, counted are the files and directories that the keeper makes: see ``killed_at``."""
    start_keeper(site, _mortal(site, number))
    ran = execute(site, 1)
    return ran, killed_at(site) is None


def killed_at(site: Site) -> str | None:
    """What of the state directory somebody was killed at who was about to make it, without what is chance."""
    note = _note(site)
    if not note.exists():
        return None
    path = note.read_text().removeprefix(f"{site.state}/")
    return _CHANCE.sub("~", _WORKER_ID.sub("ID", path))


def _mortal(site: Site, number: int) -> str:
    return _MORTAL.format(number=number, below=f"{site.state}/", note=str(_note(site)))


def _note(site: Site) -> Path:
    return site.root / "killed-at"


def counted(site: Site, name: str, command: Sequence[str]) -> tuple[str, ...]:
    """The same command, of which ``starts`` knows how often it was started."""
    return ("/bin/sh", "-c", _COUNTED, str(site.root / "starts"), name, *command)


def execute(site: Site, tasks: int, **more: object) -> Ran:
    return site.run("workers", "execute", "-t", "counted", "-n", str(tasks), "-p", PROMPT, **more)


def start_keeper(site: Site, code: str = "") -> int:
    """Start the keeper of a site as an engine does, and return its pid. It waits for a caller.

    With ``code`` that runs in it first.
    """
    site.state.mkdir(mode=0o700, exist_ok=True)
    home = str(Path(mahavishnu_core.__file__).parents[1])
    words = [sys.executable, "-I", "-S", "-c", code + _KEEPER, home, str(site.state)]
    subprocess.run(words, env={}, start_new_session=True, check=True)
    wait_until(lambda: keepers(site.state) != [])  # it is in a session of its own then
    [keeper] = keepers(site.state)
    return keeper.pid


def _call_keeper(site: Site) -> None:
    """A keeper that was started and never called waits for ten seconds; one that is gone is no matter."""
    directory = os.open(site.state, os.O_RDONLY)
    with suppress(FileNotFoundError, ConnectionRefusedError), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(f"/proc/self/fd/{directory}/keeper.sock")  # the path itself may be too long
    os.close(directory)


def injecting(calls: str, fault: str, *paths: Path) -> tuple[str, ...]:
    """What a command line begins with so that some system calls fail in it, or only those to paths."""
    where = [word for path in paths for word in ("-P", str(path))]
    return (
        *strace(),
        "-f",
        "-o",
        "/dev/null",
        *where,
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:{fault}",
    )


@contextmanager
def injected(pid: int, calls: str, fault: str, trace: Path) -> Iterator[subprocess.Popen[str]]:
    """The same for a process that runs, and for none of its children. Gives what ends when that ends."""
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:{fault}")
    words = (*strace(), "-p", str(pid), "-o", str(trace), *inject)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            said = tracer.stderr.readline()
            assert "attached" in said, said
            yield tracer
        finally:
            tracer.kill()


def strace() -> Sequence[str]:
    """The command, where there is one."""
    found = shutil.which("strace")
    if found is None:
        cannot("strace is not installed")
    return [str(found)]


# --- what is left


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.02)


def taken_up(kill: Kill) -> list[WorkerResult]:
    """What the next engines make of it, after a look that all is sound: the results of what was begun."""
    site, state = kill.site, kill.site.app.state
    assert kept_are_there(site), "a result that was acknowledged is not in the database"
    end = time.monotonic() + CLEAN_WITHIN
    # no more than a look is needed; what the killed one has begun may still run at the first
    while site.run("workers", "list").status == 0 and list(state.open_tasks()) and time.monotonic() < end:
        time.sleep(0.1)
    ids = [worker.worker_id for worker in state.workers()]
    tasks = [task for worker_id in ids for task in state.tasks(worker_id)]
    results = [result for task in tasks if (result := state.result(task)) is not None]
    assert len(results) == len(tasks), "each task has an end"
    begun = [result for result in results if result.error != _NEVER_BEGUN]
    assert len(starts(site)) == len(begun), "no command was started twice, or in secret"
    assert stored(site) == sorted(task.task_id for task in tasks), "each is stored, and once"
    assert "stored 0 results, 0 could not be kept" in site.run("results", "sync").out, "nothing is left to do"
    _go_on_with(site, ids)
    assert wait_until_gone(lambda: left_by_test(site.root), GONE_WITHIN) == []
    return begun


def starts(site: Site) -> list[str]:
    """The names of the counted commands that were started, in order; one that was so twice is there twice."""
    path = site.root / "starts"
    return sorted(path.read_text().splitlines()) if path.exists() else []


def stored(site: Site) -> list[str]:
    """The tasks in the database, which is sound and has a whole result in each row."""
    return _tasks_in(site.state / "results.sqlite3")


def _tasks_in(path: Path) -> list[str]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'results'").fetchall():
            return []
        query = "SELECT task_id FROM results WHERE json_valid(metadata) ORDER BY task_id"
        return [task_id for (task_id,) in database.execute(query)]


def kept_are_there(site: Site) -> bool:
    """Whether the database has all that it has acknowledged.

    That is seen in a copy: what a killed one has left of it is mended by whoever opens it first.
    """
    acknowledged = {path.parents[1].name for path in site.state.glob("workers/*/tasks/*/stored/sqlite")}
    with TemporaryDirectory() as copy:
        for path in site.state.glob("results.sqlite3*"):
            shutil.copy(path, copy)
        return acknowledged <= set(_tasks_in(Path(copy) / "results.sqlite3"))


def is_as_if_nothing_was(result: WorkerResult) -> bool:
    """Whether nobody has interfered with a task, as its result has it; only its exit may be unknown."""
    warnings = set(result.metadata["warnings"])
    return (
        result.status is WorkerStatus.COMPLETED and result.output == PROMPT and warnings <= {"exit_unknown"}
    )


def _go_on_with(site: Site, ids: Sequence[str]) -> None:
    """Nothing that a killed engine has left keeps its workers from their next task."""
    if ids:
        words = [word for worker_id in ids for word in ("--worker", worker_id)]
        ran = site.run("workers", "execute", "-p", PROMPT, *words)
        assert (ran.status, f"{len(ids)} successful, 0 failed" in ran.out) == (0, True), ran.err
