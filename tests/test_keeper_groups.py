"""Control groups, where there are any: what they alone find, and that none of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mahavishnu_core.keeper.cgroup import is_available
from mahavishnu_core.testing.processes import gone, lives
from tests.keeping import HOME, Bench

pytestmark = pytest.mark.skipif(not is_available(), reason="this machine gives us no control groups")

HIDDEN = "env -i setsid /bin/sh -c 'echo $$ > bell; exec sleep 60' </dev/null >/dev/null 2>&1 &"


def group_of(bench: Bench, task_id: str) -> Path:
    """The control group in which a task was started."""
    directory = bench.state.task(task_id).directory
    return Path(json.loads((directory / "launch.json").read_text())["group"])


async def test_a_command_is_born_in_a_group_of_its_own_and_the_keeper_is_in_none_of_them(bench, gate):
    async with bench.link() as link:
        runs = [bench.sh(link, "cat /proc/self/cgroup; read _ < gate") for _ in range(2)]
        for run in runs:
            await run.started()
        groups = [group_of(bench, run.task.task_id) for run in runs]
        members = {group: (group / "cgroup.procs").read_text().split() for group in groups}
        keeper = str(bench.keeper())
        gate.let_in(2)
        for run in runs:
            await run.wait()
    said = [(run.task.directory / "stdout.jsonl").read_text() for run in runs]
    assert [f"/{group.parent.name}/{group.name}\n" in text for group, text in zip(groups, said, strict=True)]
    assert len(set(groups)) == 2
    assert [keeper in pids or not pids for pids in members.values()] == [False, False]


async def test_a_group_goes_with_its_task_and_all_of_them_with_the_keeper(bench, gate):
    async with bench.link() as link:
        running = bench.sh(link, "read _ < gate")
        await running.started()
        ended = bench.sh(link, "sleep 0.01")
        await ended.wait()
        group = group_of(bench, running.task.task_id)
        base, keeper = group.parent, bench.keeper()
        left = [path for path in base.iterdir() if path.is_dir() and path != group]
        members = sorted((path / "cgroup.procs").read_text().split() for path in left)
        gate.let_in()
    with trio.fail_after(20):
        await gone(keeper)
    assert members == [[], [str(keeper)]]
    assert not base.exists()


SHORT = """
import os, sys
sys.path.append(sys.argv[1])
from mahavishnu_core.keeper.cgroup import members, open_groups
groups = open_groups()
given = [groups.give()]
base = os.path.dirname(given[0])
most = open(f"{base}/cgroup.max.descendants", "w")
print(1, file=most, flush=True)  # there are more already
given += [groups.give(), groups.give()]
print([members(group) for group in given], groups.give())
print(100, file=most, flush=True)
given += [group for group in (groups.give() for _ in range(5)) if group]
print(len(given), len(set(given)))
groups.close()
print(os.path.exists(base))
"""


def test_where_no_more_groups_are_to_be_had_the_keeper_leaves_that_of_a_command_all_the_same():
    words = [sys.executable, "-I", "-S", "-c", SHORT, str(HOME)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[[], [], []] None", "7 7", "False"]


SWEPT = """
import os, sys
sys.path.append(sys.argv[1])
from mahavishnu_core.keeper.cgroup import members, open_groups, remove
groups = open_groups()
first = groups.give()
remove(os.path.dirname(first))
second, third = groups.give(), groups.give()
print(members(second), os.path.isdir(third))
groups.close()
print(os.path.exists(os.path.dirname(first)))
"""


def test_a_keeper_whose_empty_groups_were_swept_away_makes_them_anew():
    """Another keeper does that to the keeper that a command of its has started."""
    words = [sys.executable, "-I", "-S", "-c", SWEPT, str(HOME)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] True", "False"]


STUCK = """
import errno, os, sys
sys.path.append(sys.argv[1])
from mahavishnu_core.keeper import cgroup
groups, write = cgroup.open_groups(), cgroup._write
def fail(path, text):
    raise OSError(errno.ENFILE, "too many open files")
cgroup._write = fail
print(groups.give())
cgroup._write = write
print(groups.give(), cgroup.members(groups.give()))
groups.close()
"""


def test_a_group_that_the_keeper_cannot_leave_is_no_commands():
    words = [sys.executable, "-I", "-S", "-c", STUCK, str(HOME)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["None", "None []"]


async def test_the_groups_of_a_killed_keeper_are_cleared_away_by_a_later_one(bench):
    async with bench.link() as link:
        run = bench.sh(link, "exit 0")
        await run.wait()
        base = group_of(bench, run.task.task_id).parent
        keeper = bench.keeper()
        os.kill(keeper, signal.SIGKILL)
        await gone(keeper)
        assert base.exists()
        await bench.sh(link, "exit 0").wait()
    assert not base.exists()


@pytest.mark.thorough
async def test_a_daemon_that_hides_is_found_though_keeper_and_command_are_gone(bench, bell):
    async with bench.link() as link:
        run = bench.sh(link, f"{HIDDEN} echo $$ > bell; exec sleep 60")
        pids = {int(line) for line in await bell.lines(2)}
        await run.started()
        pid = json.loads((run.task.directory / "launch.json").read_text())["pid"]
        keeper = bench.keeper()
        os.kill(keeper, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    await gone(keeper)
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    async with bench.link() as link:
        ended = await link.watch(run.task).wait()
    (hidden,) = pids - {pid}
    assert (ended.is_known, ended.strays) == (False, (f"{hidden} sleep",))
    assert not lives(hidden)


@pytest.mark.thorough
async def test_a_daemon_that_keeps_its_mark_may_live_in_another_group_as_long_as_its_task(bench, bell, gate):
    root = group_root()
    move = f"(setsid /bin/sh -c 'echo $$ > {root}/cgroup.procs; echo $$ > bell; exec sleep 60' &)"
    async with bench.link() as link:
        run = bench.sh(link, f"{move}; read _ < gate")
        daemon = int(await bell.line())
        other = await bench.sh(link, "sleep 0.01 & exit 3").wait()
        assert (other.exit_code, lives(daemon)) == (3, True)
        gate.let_in()
        ended = await run.wait()
    assert (ended.exit_code, ended.strays, lives(daemon)) == (0, (f"{daemon} sleep",), False)


async def test_a_daemon_that_hides_and_leaves_its_group_is_ended_with_its_task(bench, bell, gate):
    leave = HIDDEN.replace("echo $$ > bell", f"echo $$ > {group_root()}/cgroup.procs; echo $$ > bell")
    async with bench.link() as link:
        run = bench.sh(link, f"{leave} read _ < gate")
        daemon = int(await bell.line())
        gate.let_in()
        assert (await run.wait()).exit_code == 0
        await gone(daemon)


def group_root() -> Path:
    """A group above all of the keeper's, which only those who may do everything can go to."""
    places = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    root = next(path for path in places if (path / "cgroup.procs").exists())
    if not os.access(root / "cgroup.procs", os.W_OK):
        pytest.skip("a command of ours cannot leave its control group")
    return root
