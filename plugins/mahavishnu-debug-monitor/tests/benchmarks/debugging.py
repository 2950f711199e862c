"""What ``--debug`` costs a run whose monitor is open: wall time, processor time, and each line of the log.

Method: whole processes, without and with ``--debug`` in turn (A B A B …), each side in a home of its own; on
the other side one debug monitor is open all the time. Wall time is from start to exit; processor time is that
of the engine alone, as its parent is told. Medians of the rounds. After each run there is a pause until the
monitor has shown and recorded the log, so that its work falls on none of the next runs; on the run itself it
does. A line of the log is written as an engine does, a file opened and closed for each; the reference beside
it is the same record dumped as JSON and written to a file that stays open. Exit status 1 over a bound.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from mahavishnu_core.debug_log import DebugLog, Entry, last_line, path_in

MAHAVISHNU = str(Path(sys.executable).with_name("mahavishnu"))
WORKERS = 10
LINES = 20_000
ENTRIES = 5_000
PAUSE = 1.0
"""Seconds for the storages, after the monitor has recorded all."""
PATIENCE = 60.0
MOST_WALL, MOST_WALL_OF_LINES, MOST_PROCESSOR, MOST_MICROSECONDS = 1.1, 4.0, 4.0, 100.0
"""Bounds: the first three are ratios."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(f"debugging: {rounds} rounds, {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    with homes() as (plain, debugged):
        print(f"  the monitor is {debugged.access}")
        sides = (plain, debugged)
        work = measure(sides, rounds, ("-n", str(WORKERS), "-p", "sleep 1"))
        words = measure(sides, rounds, ("-n", "1", "-p", f"seq {LINES}"))
        line, bare = cost_of_line(rounds, debugged.path)
    is_met = [
        compare(f"{WORKERS} workers for a second, wall", [each.wall for each in work], MOST_WALL),
        compare(f"{LINES} lines, wall", [each.wall for each in words], MOST_WALL_OF_LINES),
        compare(f"{LINES} lines, processor", [each.processor for each in words], MOST_PROCESSOR),
    ]
    extra = (words[1].processor - words[0].processor) / LINES * 1e6
    print(f"  each of the {LINES} lines: {extra:.1f} µs more of processor time")
    told = met(line <= MOST_MICROSECONDS)
    ratio = f"{line:.1f} µs, bare {bare:.1f} µs, ratio {line / bare:.2f}"
    print(f"  one line of the log: {ratio} (at most {MOST_MICROSECONDS:.0f} µs: {told})")
    sys.exit(0 if all(is_met) and line <= MOST_MICROSECONDS else 1)


@attrs.frozen
class Cost:
    """Seconds of one run, or of the median one."""

    wall: float
    processor: float


@attrs.define
class Side:
    """One way to run, in a home of its own."""

    path: Path
    options: tuple[str, ...] = ()
    monitor: str = ""
    access: str = ""

    @property
    def environ(self) -> dict[str, str]:
        ours = ("MAHAVISHNU_", "XDG_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return inherited | {
            "HOME": str(self.path),
            "MAHAVISHNU_STATE_DIR": str(self.path / "state"),
            "MAHAVISHNU_SESSION_BUDDY_INTEGRATION": "false",
            "TMUX_TMPDIR": str(self.path),
        }

    def run(self, *words: str) -> Cost:
        began = time.perf_counter()
        process = subprocess.Popen(
            [MAHAVISHNU, *self.options, "workers", "execute", "-t", "shell", *words],
            cwd=self.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return Cost(wall, used.ru_utime + used.ru_stime)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [MAHAVISHNU, "workers", *words]
        return subprocess.run(
            command, cwd=self.path, env=self.environ, capture_output=True, text=True, check=True
        )

    def open_monitor(self) -> None:
        opened = self.ask("spawn", "-t", "debug-monitor")
        self.monitor, self.options = opened.stdout.strip(), ("--debug",)
        self.access = opened.stderr.splitlines()[-1].removeprefix(f"{self.monitor}: ")

    def settle(self) -> None:
        """Return when the monitor has recorded the end of the log, and storages have had their time."""
        end = time.monotonic() + PATIENCE
        while self.monitor and self._last_recorded() != last_line(path_in(self.path / "state")):
            assert time.monotonic() < end, "the monitor does not catch up"
            time.sleep(0.05)
        time.sleep(PAUSE)

    def _last_recorded(self) -> str:
        task = self.path / "state/workers" / self.monitor / "tasks" / f"{self.monitor}.1"
        record = json.loads(last_line(task / "stdout.jsonl"))
        return str(record.get("text"))


@contextmanager
def homes() -> Iterator[tuple[Side, Side]]:
    """The side without and that with a monitor, which is closed in the end."""
    with tempfile.TemporaryDirectory(prefix="mvb-", dir="/tmp") as directory:
        plain, debugged = Side(Path(directory, "plain")), Side(Path(directory, "debugged"))
        for side in (plain, debugged):
            side.path.mkdir()
        debugged.open_monitor()
        try:
            yield plain, debugged
        finally:
            for side in (plain, debugged):
                side.ask("close", "--all")


def measure(sides: tuple[Side, Side], rounds: int, words: tuple[str, ...]) -> list[Cost]:
    """The median run of each side; the first round is none."""
    runs: list[list[Cost]] = [[], []]
    for _ in range(rounds + 1):
        for side, found in zip(sides, runs, strict=True):
            found.append(side.run(*words))
            side.settle()
    return [
        Cost(
            statistics.median(run.wall for run in found[1:]),
            statistics.median(run.processor for run in found[1:]),
        )
        for found in runs
    ]


def cost_of_line(rounds: int, directory: Path) -> tuple[float, float]:
    """Microseconds of one line of the log, and of the least that could be done instead."""
    log = DebugLog.open(directory, ("a-secret-of-some-length",))
    entry = Entry("text", "k3f9a2b1", "k3f9a2b1.1", "shell", {"seq": 12345, "text": "a word " * 10})
    log.write(entry)
    record = json.loads(last_line(path_in(directory)))
    with (directory / "bare.jsonl").open("ab", buffering=0) as file:
        pairs = [
            (timed(lambda: log.write(entry)), timed(lambda: file.write(json.dumps(record).encode() + b"\n")))
            for _ in range(rounds)
        ]
    line, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    return line, bare


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(ENTRIES):
        action()
    return (time.perf_counter() - began) / ENTRIES * 1e6


def compare(what: str, seconds: list[float], bound: float) -> bool:
    """Print both sides, and whether the second is within its bound."""
    without, with_debug = seconds
    ratio = with_debug / without
    sides = f"{without * 1000:7.1f} ms without, {with_debug * 1000:7.1f} ms with --debug"
    print(f"  {what:33} {sides}   ratio {ratio:.2f} (at most {bound}: {met(ratio <= bound)})")
    return ratio <= bound


def met(is_met: bool) -> str:
    return "met" if is_met else "NOT met"


if __name__ == "__main__":
    main()
