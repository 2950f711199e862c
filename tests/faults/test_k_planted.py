"""Section K of the fault matrix: what commands put in the places of our own files costs them alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mahavishnu_core import WorkerStatus
from mahavishnu_core.testing.processes import keepers, left_by_test, wait_until_gone

from .site import CLEAN_WITHIN, PATIENCE, Site

FILES = (
    "stdout.jsonl",
    "stderr.log",
    "progress.jsonl",
    "stored",
    "task.json",
    "launch.json",
    "exit.json",
    "result.json",
)
THINGS = {
    "nothing": ":",
    "a link": "ln -s {victim} {file}",
    "a link to itself": "ln -s {file} {file}",
    "a FIFO": "mkfifo {file}",
    "a directory": "mkdir {file}",
    "an empty object": "echo '{{}}' > {file}",
    "a list": "echo '[1]' > {file}",
    "words of no kind": "echo '{forged}' > {file}",
    "deep nesting": "head -c 200000 /dev/zero | tr '\\0' '[' > {file}",
    "a hole of 2 TiB": "truncate -s 2T {file}",
}
FORGED = {
    **{
        name: ["no text"]
        for name in ("task_id", "worker_id", "status", "prompt", "boot_id", "type", "started")
    },
    **dict.fromkeys(("pid", "exit_code", "timeout_seconds", "deadline", "began"), "no number"),
    **dict.fromkeys(("metadata", "strays", "engine", "usage"), "no list, no object"),
}
OWN = "cd $(ls -d {state}/workers/*/tasks/$MAHAVISHNU_TASK)"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """As elsewhere, without a look for half files: what is planted here looks like one."""
    site = Site(tmp_path, {"MAHAVISHNU_MAX_CONCURRENT_WORKERS": "100"})
    (site.root / "victim").touch()
    yield site
    assert wait_until_gone(lambda: left_by_test(site.root), CLEAN_WITHIN) == []
    assert (site.root / "victim").read_bytes() == b""


def plants(site: Site) -> list[str]:
    """For each file of a task's and each thing what a shell does to put the one in the place of the other."""
    own = OWN.format(state=site.state)
    known = {"victim": site.root / "victim", "forged": json.dumps(FORGED)}
    made = [thing.format(file=file, **known) for file in FILES for thing in THINGS.values()]
    files = [file for file in FILES for _ in THINGS]
    return [f"{own} && rm -rf {file} && {make}; echo said" for file, make in zip(files, made, strict=True)]


def require_all_commands_go_on(site: Site) -> None:
    """Nothing hangs, breaks off, or fails for ever."""
    tell_all(site)
    for words in (["workers", "list"], ["results", "sync"], ["workers", "health"], ["workers", "monitor"]):
        ran = site.run(*words)
        assert (ran.status, "Traceback" in ran.err, "internal" in ran.err) == (0, False, False), (
            words,
            ran.err,
        )
    innocent = site.execute("shell", prompt="echo innocent")
    assert (innocent.status, innocent.result.output) == (0, "innocent")
    assert site.run("workers", "close", "--all").status == 0


def tell_all(site: Site) -> None:
    """Have each task shown in all ways."""
    tasks = [*site.state.glob("workers/*/tasks/*.1")][:: len(THINGS) // 2]
    assert tasks
    for words in (["results", "show"], ["workers", "logs"], ["workers", "logs", "--raw"]):
        for name in [task.name for task in tasks if "--raw" not in words or not has_a_hole(task)]:
            ran = site.run(*words, name)
            assert ran.status in (0, 1, 2, 4), (words, name, ran.err)
            assert "internal" not in ran.err, (words, name)


def has_a_hole(task: Path) -> bool:
    """Whether its output is nothing that anybody wants to see whole."""
    output = task / "stdout.jsonl"
    return output.is_file() and output.stat().st_size > 10**9


def test_k5_what_a_command_plants_among_its_own_files_harms_no_other(site: Site) -> None:
    innocents = ["echo innocent"] * 4
    ran = site.batch(*({"prompt": prompt, "worker_type": "shell"} for prompt in (*innocents, *plants(site))))
    assert ran.status in (0, 1, 4), ran.err
    results = ran.results
    assert len(results) == len(innocents) + len(FILES) * len(THINGS)
    assert [(each.status, each.output) for each in results[:4]] == [(WorkerStatus.COMPLETED, "innocent")] * 4
    assert {each.status for each in results} <= {WorkerStatus.COMPLETED, WorkerStatus.FAILED}
    require_all_commands_go_on(site)


@pytest.mark.parametrize("keeper", ["lives", "is killed"])
def test_k5_nor_where_no_engine_looks(site: Site, keeper: str) -> None:
    words = [*plants(site), "echo innocent"]
    (site.root / "taken").mkdir()
    (site.root / "done").mkdir()
    for number, line in enumerate(words):
        (site.root / f"plant{number}").write_text(line)
    take = f"for n in $(seq 0 {len(words) - 1}); do mkdir {site.root}/taken/$n 2>/dev/null && break; done"
    wait = f"mkdir {site.root}/done/$n; while [ ! -e {site.root}/gate ]; do sleep 0.1; done"
    for begin in range(0, len(words), 20):
        count = min(20, len(words) - begin)
        prompt = f"{take}; . {site.root}/plant$n; {wait}"
        ran = site.run("workers", "execute", "-t", "shell", "-n", str(count), "--detach", "-p", prompt)
        assert ran.status == 0, ran.err
    wait_until(lambda: len([*(site.root / "done").iterdir()]) == len(words))
    if keeper == "is killed":
        for process in keepers(site.state):
            os.kill(process.pid, signal.SIGKILL)
    (site.root / "gate").touch()
    assert site.run("workers", "monitor").status in (0, 1, 4)
    require_all_commands_go_on(site)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.05)
