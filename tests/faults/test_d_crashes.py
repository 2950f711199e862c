"""Section D of the fault matrix: engines and keepers that are killed, and what the next ones make of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mahavishnu_core import Task, WorkerStatus
from mahavishnu_core.keeper.family import read_process
from mahavishnu_core.testing.agents import agent
from mahavishnu_core.testing.processes import keepers, left_by_test, lives, wait_until_gone

from .site import CLEAN_WITHIN, Site
from .sweep import (
    BIRTHS,
    LINKS,
    PATIENCE,
    REMOVALS,
    RENAMES,
    SENDINGS,
    counted,
    is_as_if_nothing_was,
    starts,
    stored,
    sweep,
    taken_up,
    wait_until,
    with_engine_killed,
    with_keeper_killed,
)

HOSTILE = ("fork_storm", "pipe_heir", "silent_forever", "stops_itself", "term_immune_family")


def kill_keeper(site: Site) -> None:
    [keeper] = keepers(site.state)
    os.kill(keeper.pid, signal.SIGKILL)


def kill_both(site: Site, engine: subprocess.Popen[str]) -> None:
    engine.send_signal(signal.SIGSTOP)  # else it would start another keeper meanwhile
    kill_keeper(site)
    engine.kill()


KILLS: dict[str, Callable[[Site, subprocess.Popen[str]], None]] = {
    "engine": lambda _, engine: engine.kill(),
    "keeper": lambda site, _: kill_keeper(site),
    "both": kill_both,
}


def tasks_by_type(site: Site) -> dict[str, Task]:
    state = site.app.state
    workers = state.workers(with_closed=True)
    return {worker.type.name: task for worker in workers for task in state.tasks(worker.worker_id)}


def leader(task: Task) -> int:
    """The pid of a task's command."""
    return int(json.loads((task.directory / "launch.json").read_text())["pid"])


@contextmanager
def hostile_batch(site: Site) -> Iterator[tuple[subprocess.Popen[str], dict[str, Task]]]:
    """An engine whose agents misbehave, all of them running, and one that ends well when ``gate`` lets it."""
    os.mkfifo(site.root / "gate")
    waiting = ("/bin/sh", "-c", f'read _ < {site.root}/gate; exec "$0" "$@"', *agent("good"))
    commands = {name: agent(name) for name in HOSTILE} | {"good": waiting}
    site.settings({name: counted(site, name, command) for name, command in commands.items()})
    batch, log = site.work / "batch.json", site.root / "log"
    kinds = [name.replace("_", "-") for name in commands]
    batch.write_text(json.dumps([{"worker_type": kind, "prompt": "say hello"} for kind in kinds]))

    def all_run() -> bool:
        launched = map(site.app.state.was_launched, tasks_by_type(site).values())
        return len(starts(site)) == len(kinds) and all(launched)

    with (
        log.open("w") as file,
        site.start("workers", "batch", str(batch), stdout=file, stderr=file) as engine,
    ):
        try:
            wait_until(all_run)
            yield engine, tasks_by_type(site)
        finally:
            engine.kill()


@pytest.mark.parametrize("whom", KILLS)
def test_d1_agents_go_on_when_engine_or_keeper_is_killed(site: Site, whom: str) -> None:
    with hostile_batch(site) as (engine, tasks):
        KILLS[whom](site, engine)
        agents = {kind: leader(task) for kind, task in tasks.items() if kind != "pipe-heir"}
        assert [kind for kind, pid in agents.items() if not lives(pid)] == [], "what ran goes on"
        (site.root / "gate").write_text("\n")
        wait_until(lambda: not lives(agents["good"]))
        listed = json.loads(site.run("workers", "list", "--all", "--json").out)
        assert {"silent-forever": "running", "good": "completed"}.items() <= {
            (each["worker_type"], each["status"]) for each in listed
        }
        assert site.run("workers", "close", "--all").status == 0
        if whom == "keeper":
            assert engine.wait(PATIENCE) == 1, "it has seen its tasks to their end"
    results = {kind: site.app.state.result(task) for kind, task in tasks.items()}
    assert results["good"].output == "say hello"
    assert ("exit_unknown" in results["good"].metadata["warnings"]) == (whom != "engine"), "nobody saw it"
    for kind in ("fork-storm", "silent-forever", "stops-itself", "term-immune-family"):
        assert results[kind].status is WorkerStatus.CANCELLED, kind
    assert starts(site) == sorted([*HOSTILE, "good"]), "nothing runs twice"
    assert wait_until_gone(lambda: left_by_test(site.root), CLEAN_WITHIN) == []
    assert stored(site) == sorted(task.task_id for task in tasks.values())


@pytest.mark.parametrize("calls", [RENAMES, LINKS, REMOVALS])
def test_d2_an_engine_killed_at_any_step_has_its_task_taken_up(tmp_path: Path, calls: str) -> None:
    for kill in sweep(tmp_path, calls, with_engine_killed):
        for result in taken_up(kill):
            assert is_as_if_nothing_was(result), kill


@pytest.mark.parametrize("calls", [RENAMES, BIRTHS, SENDINGS, REMOVALS])
def test_d2_a_keeper_killed_at_any_step_costs_no_verdict(tmp_path: Path, calls: str) -> None:
    for kill in sweep(tmp_path, calls, with_keeper_killed):
        assert kill.ran.status == 0, f"{kill}: {kill.ran.err}"
        [result] = taken_up(kill)
        assert is_as_if_nothing_was(result), kill


@pytest.mark.parametrize("lie", ["start_time", "boot_id"])
def test_d3_a_pid_that_is_somebody_elses_now_is_not_signalled(site: Site, lie: str) -> None:
    site.offer("silent_forever")
    assert site.execute("silent-forever", "--detach").status == 0
    [task] = tasks_by_type(site).values()
    wait_until(lambda: site.app.state.was_launched(task))
    path = task.directory / "launch.json"
    record = json.loads(path.read_text())
    [keeper] = keepers(site.state)
    for pid in (keeper.pid, leader(task)):
        os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(["/bin/sleep", "60"]) as bystander:
        process = read_process(bystander.pid)
        true = {"pid": bystander.pid, "start_time": process.start, "group": None}
        path.write_text(json.dumps(record | true | {lie: {"start_time": 1, "boot_id": "another"}[lie]}))
        assert site.run("workers", "close", "--all").status == 0
        assert bystander.poll() is None
        bystander.kill()
    result = site.app.state.result(task)
    assert (result.status, result.exit_code) == (WorkerStatus.FAILED, None)
    assert site.stored("hello")[0].to_dict() == result.to_dict()
