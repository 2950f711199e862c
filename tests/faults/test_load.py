"""Many workers at once, many tasks in all: the ends are clean, nothing grows."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import attrs
import pytest

from mahavishnu_core.keeper.family import descendants, snapshot
from mahavishnu_core.testing.processes import keepers, left_by_test, open_files, resident_kb, wait_until_gone

from .site import CLEAN_WITHIN, PATIENCE, Site
from .waiting import prompts, until

WIDTH = 100
"""How many run at once: the most that may be set."""
WITHIN = 600
"""Seconds in which 10 000 tasks must have ended: alone on two processors they take 25."""


@pytest.fixture
def wide(site: Site) -> Site:
    """A site on which as many tasks run at once as can be."""
    site.more["MAHAVISHNU_MAX_CONCURRENT_WORKERS"] = str(WIDTH)
    return site


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_of_100_workers_that_ignore_term_nothing_is_left_8_seconds_after_they_are_cancelled(
    wide: Site, number: signal.Signals
) -> None:
    deaf = "trap '' TERM HUP INT; echo > up-$MAHAVISHNU_TASK; setsid sleep 50 & sleep 50"
    process = wide.start("workers", "batch", str(prompts(wide, [deaf] * WIDTH)), "-t", "shell", "--json")
    until(lambda: len(list(wide.work.glob("up-*"))) == WIDTH)
    asked = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert wait_until_gone(lambda: left_by_test(wide.root), PATIENCE) == []
    assert 5 <= time.monotonic() - asked < CLEAN_WITHIN
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    results = json.loads(out)
    assert [result["status"] for result in results] == ["cancelled"] * WIDTH
    assert [result["metadata"]["evidence"]["survivors"] for result in results] == [[]] * WIDTH


@attrs.define
class Figures:
    """What a program and its keeper have, as often as somebody looks."""

    process: subprocess.Popen[str]
    site: Site
    megabytes: list[float] = attrs.field(factory=list)
    keepers_megabytes: list[float] = attrs.field(factory=list)
    files: list[int] = attrs.field(factory=list)
    keepers_files: list[int] = attrs.field(factory=list)
    family: list[int] = attrs.field(factory=list)
    """How many processes there were in all."""

    def has_ended(self) -> bool:
        """Whether the program has; if not, its figures are taken down."""
        with suppress(OSError, StopIteration, ValueError):  # one of the two is just going
            self._look()
        return self.process.poll() is not None

    def _look(self) -> None:
        [keeper] = keepers(self.site.state)
        self.megabytes.append(resident_kb(self.process.pid) / 1024)
        self.keepers_megabytes.append(resident_kb(keeper.pid) / 1024)
        self.files.append(len(open_files(self.process.pid)))
        self.keepers_files.append(len(open_files(keeper.pid)))
        self.family.append(len(descendants(snapshot(), [self.process.pid, keeper.pid])))


def test_10_000_queued_tasks_end_and_neither_memory_nor_files_nor_processes_grow(wide: Site) -> None:
    count = 10_000
    file = prompts(wide, [":"] * count)
    with (wide.root / "out").open("w") as out, (wide.root / "err").open("w") as err:
        process = wide.start("workers", "batch", str(file), "-t", "shell", "--json", stdout=out, stderr=err)
        figures = Figures(process, wide)
        until(figures.has_ended, every=0.5, patience=WITHIN)
    results = json.loads((wide.root / "out").read_text())
    assert process.returncode == 0
    assert [result["status"] for result in results] == ["completed"] * count
    assert len({result["metadata"]["task_id"] for result in results}) == count
    print(f"engine {max(figures.megabytes):.0f} MB, keeper {max(figures.keepers_megabytes):.0f} MB")
    print(f"files {max(figures.files)} and {max(figures.keepers_files)}, processes {max(figures.family)}")
    assert max(figures.megabytes) < 200
    assert max(figures.keepers_megabytes) < 40
    assert max(figures.files) < 2 * WIDTH + 64
    assert max(figures.keepers_files) < 64
    assert max(figures.family) <= 2 * WIDTH + 8
    third = len(figures.files) // 3
    assert max(figures.files[-third:]) <= max(figures.files[:third]) + WIDTH
    assert max(figures.keepers_files[-third:]) <= max(figures.keepers_files[:third]) + 4
    assert wide.left() == []
    shutil.rmtree(wide.state / "workers")  # pytest keeps what is left of its latest runs
