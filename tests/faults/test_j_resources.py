"""Section J of the fault matrix: too few files, processes, threads; too many tasks; a clock that is set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest

import mahavishnu_core
from mahavishnu_core import WorkerResult, WorkerStatus
from mahavishnu_core.testing import agents
from mahavishnu_core.testing.processes import resident_kb

from .disk import cannot
from .site import PATIENCE, PROGRAM, Ran, Site
from .waiting import prompts, until

AGENTS = Path(__file__).parent / "agents"
TOGETHER = "echo + >> log; until [ $(grep -c + log) -ge {} ]; do sleep 0.1; done; sleep 0.3; echo - >> log"
"""A prompt that ends when so many run or have run, and leaves a record of how many ran together."""
WIDTH_OF_64 = (64 - 40) // 2
"""Of 64 open files an engine has use for 40 itself, and for two in each task that it follows."""


def most_at_once(log: Path) -> int:
    running = most = 0
    for line in log.read_text().splitlines():
        running += 1 if line == "+" else -1
        most = max(most, running)
    return most


# --- J1


def test_j1_with_few_open_files_as_many_of_100_workers_run_as_fit_and_all_end_well(site: Site) -> None:
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "100"
    few = ("prlimit", "--nofile=64:64")
    prompt = TOGETHER.format(WIDTH_OF_64)
    ran = site.batch(*[{"prompt": prompt, "worker_type": "shell"}] * 100, prefix=few)
    assert (ran.status, "mahavishnu:" in ran.err) == (0, False), ran.err
    assert [result.status for result in ran.results] == [WorkerStatus.COMPLETED] * 100
    assert most_at_once(site.work / "log") == WIDTH_OF_64


def test_j1_with_256_open_files_100_workers_run_at_once(site: Site) -> None:
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "100"
    few = ("prlimit", "--nofile=256:256")
    prompt = "echo + >> log; until [ $(wc -l < log) -ge 100 ]; do sleep 0.1; done"
    ran = site.batch(*[{"prompt": prompt, "worker_type": "shell"}] * 100, prefix=few)
    assert (ran.status, "mahavishnu:" in ran.err) == (0, False), ran.err
    assert [result.status for result in ran.results] == [WorkerStatus.COMPLETED] * 100


# --- J2

_READS_ALL = "-all,+dac_override,+dac_read_search"
"""What Python may need that lies in root's home."""


@pytest.fixture
def crowded() -> Iterator[Site]:
    """A site whose programs can be kept from having processes: see ``short_of_processes``."""
    with TemporaryDirectory() as root:  # not below a directory of pytest's, which is for its owner alone
        site = Site(Path(root))
        yield site
        assert site.left() == []


def short_of_processes(site: Site, most: int) -> tuple[str, ...]:
    """What a command line begins with that may have so many processes and threads in all, its own included.

    Linux counts them by user, and root's not at all: so it runs as a user who has none, or where they are
    counted anew.
    """
    if os.geteuid() != 0:
        prefix: tuple[str, ...] = ("unshare", "-Ur")
    else:
        for path in (site.root, *site.root.rglob("*")):
            os.chown(path, 65534, 65534)
        sets = (f"--{name}={_READS_ALL}" for name in ("inh-caps", "ambient-caps", "bounding-set"))
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *sets)
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        cannot(f"nobody can be kept from having processes here: {tried.stderr}")
    return (*prefix, "prlimit", f"--nproc={most}")


def test_j2_without_processes_for_all_tasks_those_that_cannot_be_started_say_so(crowded: Site) -> None:
    crowded.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "100"
    file = prompts(crowded, ["sleep 1; echo done"] * 40)
    prefix = short_of_processes(crowded, 30)
    ran = crowded.run("workers", "batch", file, "-t", "shell", "--json", prefix=prefix)
    assert (ran.status, "mahavishnu:" in ran.err, "Traceback" in ran.err) == (1, False, False), ran.err
    done = [result for result in ran.results if result.is_success()]
    failed = [result for result in ran.results if not result.is_success()]
    assert done
    assert failed
    assert {result.metadata["reason"] for result in failed} <= {"spawn", "exit_status"}
    for result in failed:  # a shell says for itself that it cannot start its `sleep`
        assert "Resource temporarily unavailable" in result.error or "Cannot fork" in result.error
    again = crowded.run("workers", "batch", file, "-t", "shell", "--retry", "--json")
    assert [result.output for result in again.results] == ["done"] * 40


@pytest.mark.parametrize("most", [4, 3, 2, 1])
def test_j2_without_processes_or_threads_for_the_program_itself_each_task_says_so_and_none_is_lost(
    crowded: Site, most: int
) -> None:
    ran = crowded.execute("shell", prompt="echo done", count=3, prefix=short_of_processes(crowded, most))
    assert "Traceback" not in ran.err
    assert "internal error" not in ran.err
    failed = [result for result in ran.results if not result.is_success()]
    assert failed or most == 4, "with so many, one after the other may find a place"
    assert most > 1 or len(failed) == 3
    for result in failed:
        assert result.metadata["reason"] == "spawn"
        assert "keeper of" in result.error or "Resource temporarily unavailable" in result.error
    not_kept = "storage 'sqlite' could not keep the result" in ran.err
    assert ran.status == (4 if not_kept else 1 if failed else 0)
    assert not_kept or most > 1, "there is no thread for the database"
    assert ran.seconds < 15
    synced = json.loads(crowded.run("results", "sync", "--json").out)
    assert synced["not_stored"] == []
    assert len(crowded.run("workers", "results", "--json").results) == 3


# --- J3


def nest(site: Site) -> Ran:
    """Have an agent start Mahavishnu with an agent that starts Mahavishnu, and so on."""
    state = f"MAHAVISHNU_STATE_DIR={site.state}"
    again = f"{state} exec {PROGRAM} workers execute -t shell -n 1 -p 'sh nest.sh'"
    (site.work / "nest.sh").write_text(f"echo depth $MAHAVISHNU_DEPTH\n{again}\n")
    return site.execute("shell", prompt="sh nest.sh")


@pytest.mark.parametrize("deepest", [1, 2])
def test_j3_agents_that_start_mahavishnu_and_so_on_come_one_level_deep_unless_more_is_allowed(
    site: Site, deepest: int
) -> None:
    if deepest > 1:
        site.run("config", "set", "max_worker_depth", str(deepest))
    ran = nest(site)
    assert (ran.status, ran.result.metadata["reason"]) == (1, "exit_status")
    refusal = (
        f"mahavishnu: this is itself a worker (depth {deepest}), and workers may be nested {deepest} deep:"
    )
    said = [path.read_text() for path in site.state.rglob("stderr.log")]
    assert sum(refusal in text for text in said) == 1
    outputs = [path.read_text().split("\n")[0] for path in site.state.rglob("stdout.jsonl")]
    assert sorted(outputs) == [f"depth {level}" for level in range(1, deepest + 1)]


def test_j3_of_100_000_tasks_those_that_wait_cost_next_to_nothing(site: Site) -> None:
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "2"
    few, many = (_waiting(site, count) for count in (10, 100_000))
    assert many.megabytes - few.megabytes < 150
    assert many.seconds_to_begin < 10
    assert many.seconds_to_leave < 10
    assert (many.workers, many.results) == (few.workers, few.results) == (2, 2)
    assert many.left == 99_998


@attrs.frozen
class _Waiting:
    """What a batch costs of which two tasks run and all others wait, until Ctrl-C."""

    seconds_to_begin: float
    megabytes: float
    workers: int
    seconds_to_leave: float
    results: int
    left: int


def _waiting(site: Site, count: int) -> _Waiting:
    before = len(list(site.state.glob("workers/*")))
    file = prompts(site, [f"echo >> up-{count}; sleep 60 # {number}" for number in range(count)])
    began = time.monotonic()
    process = site.start("workers", "batch", file, "-t", "shell", "--json")
    up = site.work / f"up-{count}"
    until(lambda: up.exists() and up.read_text() == "\n\n")
    begun = time.monotonic() - began
    megabytes = resident_kb(process.pid) / 1024
    workers = len(list(site.state.glob("workers/*"))) - before
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    left = int(next(line for line in err.splitlines() if "not begun" in line).split()[0])
    return _Waiting(begun, megabytes, workers, time.monotonic() - asked, len(json.loads(out)), left)


# --- J4


def test_j4_of_several_agents_the_one_that_takes_all_memory_fails_alone(site: Site) -> None:
    hog = [sys.executable, "-s", "-S", str(AGENTS / "takes_all_memory.py")]
    environ = {"PYTHONPATH": str(Path(agents.__file__).parent)}
    site.settings({"hog": ["prlimit", f"--as={200 << 20}", *hog]}, env=environ)
    others = [{"prompt": f"sleep 1; echo {number}", "worker_type": "shell"} for number in range(3)]
    ran = site.batch({"prompt": "x", "worker_type": "hog"}, *others, measured=True)
    assert ran.status == 1
    failed, *done = ran.results
    assert (failed.status, failed.metadata["reason"]) == (WorkerStatus.FAILED, "exit_status")
    assert "MemoryError" in str(failed.error)
    assert [(each.status, each.output) for each in done] == [
        (WorkerStatus.COMPLETED, str(number)) for number in range(3)
    ]
    assert ran.peak_mb < 150


# --- J5

DAY = 86_400
CLOCK = """
import datetime as module, time
def _ahead():
    with open({path!r}) as file:
        return float(file.read())
_time = time.time
time.time = lambda: _time() + _ahead()
class datetime(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + module.timedelta(seconds=_ahead())
module.datetime = datetime
"""
"""Code that has a program see the clock of the wall as far ahead as a file says."""
KEEPER = """
exec(open(sys.argv.pop(1)).read())
sys.path.append(sys.argv.pop(1))
import mahavishnu_core.keeper.main as keeper
keeper.main()
"""


@attrs.frozen
class Clock:
    """The clock of the wall as all programs of a site see it, the keeper among them."""

    site: Site
    path: Path

    @classmethod
    def hang(cls, site: Site) -> Clock:
        clock = cls(site, site.root / "ahead")
        clock.set(0)
        (site.root / "clock").mkdir()
        (site.root / "clock/sitecustomize.py").write_text(CLOCK.format(path=str(clock.path)))
        site.more["PYTHONPATH"] = str(site.root / "clock")
        return clock

    def start_keeper(self) -> None:
        """It waits ten seconds for its first engine."""
        self.site.app.state.prepare()
        code, home = self.site.root / "clock/sitecustomize.py", Path(mahavishnu_core.__file__).parents[1]
        words = [sys.executable, "-I", "-S", "-c", f"import sys{KEEPER}", code, home, self.site.state]
        subprocess.run(words, env={}, check=True, start_new_session=True)

    def set(self, ahead: float) -> None:
        draft = self.path.with_name("draft")
        draft.write_text(str(ahead))
        draft.rename(self.path)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
def test_j5_a_clock_that_is_set_by_a_day_changes_no_duration_limit_or_order(site: Site, jump: int) -> None:
    clock = Clock.hang(site)
    clock.start_keeper()
    ticks = "echo up > up-$MAHAVISHNU_TASK; for tick in 1 2 3 4 5 6; do echo $tick; sleep 0.5; done"
    silence = "echo up > up-$MAHAVISHNU_TASK; exec sleep 50"
    plain = {"agent": "generic", "progress_tracking": "lines", "idle_seconds": 2, "timeout_seconds": 30}
    site.settings({"ticks": ["sh", "-c", ticks], "silence": ["sh", "-c", silence]}, **plain)
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = "2"
    file = site.work / "batch.json"
    kinds = ["ticks", "silence", "ticks"]
    file.write_text(json.dumps([{"prompt": kind, "worker_type": kind} for kind in kinds]))
    process = site.start("workers", "batch", file, "--jsonl")
    until(lambda: len(list(site.work.glob("up-*"))) == 2)
    clock.set(jump)
    listed = json.loads(site.run("workers", "list", "--json").out)
    out, err = process.communicate(timeout=PATIENCE)
    told = [json.loads(line) for line in out.splitlines()]
    results = [WorkerResult.from_dict(each) for each in told if each["type"] == "result"]

    assert {each["status"] for each in listed if each["elapsed_seconds"] is not None} == {"running"}
    assert all(0 <= each["elapsed_seconds"] < 20 for each in listed if each["elapsed_seconds"] is not None)
    assert (process.returncode, "Traceback" in err) == (1, False)
    assert [result.metadata["worker_type"] for result in results] == kinds
    assert [result.metadata["reason"] for result in results] == [None, "idle", None]
    assert all(1.9 < result.duration_seconds < 20 for result in results)
    for result in results:
        seqs = [
            each["seq"] for each in told if each["type"] != "result" and each["worker_id"] == result.worker_id
        ]
        assert seqs == list(range(1, len(seqs) + 1))
        assert _days_after_it_was_given(site, result) == (
            round(jump / DAY) if result is not results[2] else 0
        )


def _days_after_it_was_given(site: Site, result: WorkerResult) -> int:
    """By what the clock said then."""
    given, ended = site.task(result).created, result.timestamp
    return round((datetime.fromisoformat(ended) - datetime.fromisoformat(given)).total_seconds() / DAY)


def test_j5_the_latest_task_of_a_worker_is_the_one_that_was_given_last(site: Site) -> None:
    clock = Clock.hang(site)
    first = site.execute("shell", prompt="echo first").result
    clock.set(-DAY)
    again = ("workers", "execute", "--worker", first.worker_id, "--json", "-p")
    second, third = (site.run(*again, f"echo {number}").result for number in ("second", "third"))
    assert site.task(third).created < site.task(first).created
    assert [each.metadata["task_id"].split(".")[1] for each in (first, second, third)] == ["1", "2", "3"]
    results = ("workers", "results", first.worker_id, "--json")
    assert site.run(*results).results == [third]
    assert site.run(*results, "--all").results == [first, second, third]
