"""Containers whose worker is gone, and those that must never be taken for such."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from mahavishnu_container import leftovers, place
from mahavishnu_container.leftovers import ENGINE, STATE, STATE_PATH, WORKER
from mahavishnu_container.runtime import Runtime
from mahavishnu_core.errors import MahavishnuError, MissingError, UsageError
from mahavishnu_core.places import this_engine

from .yard import until

pytestmark = pytest.mark.container
PROGRAM = Path(sys.executable).with_name("mahavishnu")
DEAD_ENGINE = json.dumps({"pid": 1 << 22, "start_time": 1, "boot_id": "another"})
SPAWN = """
import sys, trio
from pathlib import Path
from mahavishnu_core import WorkerManager

async def main(workspace):
    async with WorkerManager() as manager:
        await manager.spawn_workers("boxed", repo=Path(workspace))

trio.run(main, *sys.argv[1:])
"""


@pytest.fixture
def left(yard):
    """Makes containers that look like ours: ``status`` as Docker calls it, labels to be changed."""
    names = []
    yard.app.state.prepare()

    def make(worker="w0000000", status="created", **labels):
        given = {
            WORKER: worker,
            STATE: leftovers._name_of(yard.app.state.root),
            STATE_PATH: str(yard.app.state.root),
            ENGINE: DEAD_ENGINE,
        } | labels
        container = yard.daemon.client.containers.create(
            yard.image,
            ["sleep", "1000"],
            name=f"look-alike-{len(names)}",
            labels={name: value for name, value in given.items() if value is not None},
            init=True,
            network_mode="none",
        )
        names.append(container.name)
        if status != "created":
            container.start()
        if status == "exited":
            container.kill()
        if status == "paused":
            container.pause()
        return container.name

    yield make
    yard.daemon.remove_containers()


def names(yard):
    return sorted(container.name for container in yard.daemon.containers())


async def swept(manager, remove=False):
    found = await leftovers.sweep(manager.engine, remove=remove)
    return sorted(leftover.name.removeprefix("container ") for leftover in found)


# --- what is made


async def test_a_container_says_whose_it_is(yard):
    async with yard.worker() as boxed:
        container = boxed.container
        labels = {name: value for name, value in container.labels.items() if name.startswith("mahavishnu.")}
        assert labels == {
            "mahavishnu.worker": boxed.worker_id,
            "mahavishnu.state": (yard.app.state.root / "containers.id").read_text(),
            "mahavishnu.state_dir": str(yard.app.state.root),
            "mahavishnu.engine": this_engine(),
        }
        assert container.name == f"mahavishnu-{boxed.worker_id}"
        assert len(labels["mahavishnu.state"]) == 32


async def test_containers_of_workers_that_are_there_are_no_leftovers(yard):
    async with yard.worker() as boxed, yard.manager(yard.same_app()) as other:
        boxed.container.kill()
        assert await swept(other, remove=True) == []
        assert names(yard) == [boxed.container.name]


# --- what is left over


@pytest.mark.parametrize("status", ["created", "running", "exited", "paused"])
async def test_f3_a_container_whose_worker_was_never_made_is_listed_and_removed(yard, left, status):
    name = left(status=status)
    async with yard.manager() as manager:
        (leftover,) = await leftovers.sweep(manager.engine, remove=False)
        assert (leftover.name, leftover.worker_id) == (f"container {name}", "w0000000")
        assert leftover.detail == "its worker was never made, or is gone"
        assert names(yard) == [name]
        assert await swept(manager, remove=True) == [name]
        assert names(yard) == []
        assert await swept(manager) == []


async def test_a_container_of_a_closed_worker_is_left_over_whoever_made_it(yard, left):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
        await manager.close_worker(boxed.worker_id)
        name = left(boxed.worker_id, **{ENGINE: this_engine()})
        (leftover,) = await leftovers.sweep(manager.engine, remove=False)
        assert (leftover.name, leftover.detail) == (f"container {name}", "its worker is closed")


@pytest.mark.parametrize(
    "labels",
    [
        {STATE: "somebody-elses"},
        {STATE: None},
        {WORKER: None},
        {STATE: None, WORKER: None, ENGINE: None, STATE_PATH: None},
        {ENGINE: this_engine()},
    ],
    ids=["another state directory", "no state", "no worker", "no labels", "an engine that is just spawning"],
)
async def test_f3_what_is_not_ours_or_not_left_over_is_never_touched(yard, left, labels):
    name = left(**labels)
    async with yard.manager() as manager:
        assert await swept(manager, remove=True) == []
        boxed = await yard.spawn(manager)
        assert names(yard) == sorted([name, boxed.container.name])
        await manager.close_all()
    assert names(yard) == [name]


@pytest.mark.parametrize("engine", [None, "", "junk", "[1]", "{}", "null", '{"pid": "x"}'])
async def test_an_engine_that_nobody_knows_is_dead(yard, left, engine):
    name = left(**{ENGINE: engine})
    async with yard.manager() as manager:
        assert await swept(manager) == [name]


@pytest.mark.parametrize("worker", ["../../../etc", "", "a/b", "x" * 300])
async def test_a_worker_that_cannot_be_is_unknown(yard, left, worker):
    name = left(worker)
    async with yard.manager() as manager:
        assert await swept(manager) == [name]


async def test_the_first_worker_of_an_engine_has_leftovers_removed_and_told(yard, left):
    left(status="running")
    told = []
    async with yard.manager() as manager:
        with manager.listening(told.append):
            boxed = await yard.spawn(manager)
        assert names(yard) == [boxed.container.name]
        assert "removed container look-alike-0: its worker was never made, or is gone" in told
        await manager.close_all()


async def test_the_manager_lists_and_removes_leftovers_of_all_places(yard, left):
    name = left()
    async with yard.manager() as manager:
        (leftover,) = (await manager.health()).leftovers
        assert leftover == f"container {name}: its worker was never made, or is gone"
        found = await manager.sweep(remove=True)
        assert ([each.name for each in found.leftovers], found.failures) == ([f"container {name}"], ())
    assert names(yard) == []


async def test_f3_a_dry_run_says_what_is_left_over_and_closing_all_removes_it(yard, left):
    ours = [left(status=status) for status in ("created", "exited", "running")]
    others = [left(**{STATE: "somebody-elses"}), left(**{WORKER: None})]
    words = "{} container {}: its worker was never made, or is gone"
    close_all = [PROGRAM, "workers", "close", "--all"]
    would = await trio.run_process([*close_all, "--dry-run"], capture_stdout=True)
    assert sorted(would.stdout.decode().splitlines()[1:]) == [words.format("would remove", n) for n in ours]
    assert names(yard) == sorted([*ours, *others])
    done = await trio.run_process(close_all, capture_stdout=True)
    assert sorted(done.stdout.decode().splitlines()[1:]) == [words.format("removed", n) for n in ours]
    assert names(yard) == others


async def test_a_state_directory_that_never_had_a_container_asks_no_daemon(yard, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    async with yard.manager() as manager:
        assert await swept(manager) == []


async def test_a_daemon_that_does_not_answer_is_said_instead_of_nothing_left(yard):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
        await manager.close_worker(boxed.worker_id)
    yard.daemon.kill()
    async with yard.manager(yard.same_app()) as manager:
        with pytest.raises(MissingError, match="Docker does not answer"):
            await leftovers.sweep(manager.engine, remove=False)
        assert (await manager.sweep()).failures
    yard.daemon.start()


async def test_f3_what_a_killed_engine_was_making_is_left_over_for_the_next(yard):
    yard.add_type()
    async with yard.manager() as manager:
        await manager.close_worker((await yard.spawn(manager)).worker_id)
        async with trio.open_nursery() as nursery:
            words = [sys.executable, "-c", SPAWN, yard.workspace]
            engine = await nursery.start(partial(trio.run_process, words, check=False))
            await until(yard.daemon.containers)
            engine.kill()
        found = await leftovers.sweep(manager.engine, remove=True)
        if not found:  # it had written its worker down already
            assert await manager.close_all() == 1
    assert yard.daemon.containers() == []


# --- spawning that fails


async def test_a_worker_whose_image_is_not_there_leaves_nothing(yard):
    async with yard.manager(image="no-such/image") as manager:
        with pytest.raises(MissingError, match=r"'no-such/image' is not here, and 'pull: never'"):
            await yard.spawn(manager)
        assert manager.app.state.workers(with_closed=True) == []
    assert yard.daemon.containers() == []
    assert list((yard.app.state.root / "workers").iterdir()) == []


async def test_a_worker_whose_network_is_not_there_leaves_nothing(yard):
    async with yard.manager(network="no-such-network") as manager:
        with pytest.raises(MahavishnuError, match="network no-such-network not found"):
            await yard.spawn(manager)
    assert yard.daemon.containers() == []
    assert list((yard.app.state.root / "workers").iterdir()) == []


async def test_a_name_that_is_taken_keeps_its_container(yard, monkeypatch):
    yard.daemon.client.containers.create(yard.image, ["sleep", "1"], name="taken", network_mode="none")
    make = place.recipe
    monkeypatch.setattr(place, "recipe", lambda *words: {**make(*words), "name": "taken"})
    async with yard.manager() as manager:
        with pytest.raises(MahavishnuError, match='name "/taken" is already in use'):
            await yard.spawn(manager)
    assert names(yard) == ["taken"]
    yard.daemon.remove_containers()


async def test_a_workspace_that_is_gone_is_said_and_leaves_nothing(yard):
    async with yard.manager() as manager:
        yard.workspace.rmdir()
        with pytest.raises(UsageError, match="is not a directory"):
            await yard.spawn(manager)
    assert yard.daemon.containers() == []


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3])
async def test_spawning_that_is_cancelled_leaves_nothing_whenever_that_is(yard, monkeypatch, delay):
    begun = trio.Event()
    finish = Runtime.finish
    ready: list[str] = []

    async def tell(self, *words):
        begun.set()
        return await finish(self, *words)

    async def spawn():
        ready.extend(await manager.spawn_workers("boxed", 2, repo=yard.workspace))

    monkeypatch.setattr(Runtime, "finish", tell)
    async with yard.manager() as manager:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(spawn)
                await begun.wait()
                await trio.sleep(delay)
                scope.cancel()
        # on a fast machine the workers may be there before the longest delay is over
        assert delay or not ready
        assert sorted(names(yard)) == sorted(f"mahavishnu-{worker_id}" for worker_id in ready)
        # one that was ready when the other was cancelled stays as a closed one
        assert {worker.worker_id for worker in manager.app.state.workers()} == set(ready)
        await manager.close_all()
    assert yard.daemon.containers() == []


# --- closing


async def test_a_worker_whose_container_is_gone_can_be_closed(yard):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
        boxed.container.remove(force=True)
        assert await manager.close_worker(boxed.worker_id)
        assert manager.app.state.workers() == []


async def test_a_worker_stays_open_while_its_daemon_is_down(yard):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
    yard.daemon.kill()
    async with yard.manager(yard.same_app()) as manager:
        with pytest.raises(MissingError, match="Docker does not answer"):
            await manager.close_worker(boxed.worker_id)
        assert [worker.worker_id for worker in manager.app.state.workers()] == [boxed.worker_id]
        yard.daemon.start()
        assert await manager.close_worker(boxed.worker_id)
    assert yard.daemon.containers() == []


async def test_a_worker_is_closed_at_the_daemon_that_has_it(yard, monkeypatch, tmp_path):
    async with yard.manager() as manager:
        boxed = await yard.spawn(manager)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/another.sock")
        assert await manager.close_worker(boxed.worker_id)
    assert yard.daemon.containers() == []


async def test_closing_ends_what_runs(yard):
    async with yard.manager() as manager, trio.open_nursery() as nursery:
        boxed = await yard.spawn(manager)
        nursery.start_soon(boxed.do, "trap '' TERM; echo here; while :; do sleep 1; done")
        await boxed.says(b"here")
        await manager.close_worker(boxed.worker_id, grace_seconds=0.2)
    assert yard.daemon.containers() == []
    assert not boxed.boxes


async def test_twenty_workers_are_made_and_closed_together(yard):
    async with yard.manager(memory="64m") as manager:
        ids = await manager.spawn_workers("boxed", 20, repo=yard.workspace)
        results = await manager.execute_batch(ids, ["echo hello"] * 20)
        assert [result.output for result in results] == ["hello"] * 20
        assert await manager.close_all() == 20
    assert yard.daemon.containers() == []
