"""The same containers on Podman: what differs there from Docker, and the main things all the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import DEVNULL

import pytest
import trio

from mahavishnu_container.images import progress_of
from mahavishnu_core import WorkerStatus
from mahavishnu_core.app import App
from mahavishnu_core.errors import MissingError
from tests.real_cli.site import PROGRAM

from .daemon import require_programs
from .images import base_image
from .podman import Podman, run_podman
from .yard import Yard, until

pytestmark = pytest.mark.container
SHELL = """#!/bin/busybox sh
[ "$3" = sh ] || exec /bin/busybox sh "$@"
"""
"""Ends at once where it is to watch over a command."""
DEAF = "trap '' TERM; echo here; sleep 61 & sleep 62; sleep 63"


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    require_programs("podman", "runc", "conmon", "catatonit", "busybox")
    with run_podman(Path(tempfile.mkdtemp(prefix="mvp-", dir="/tmp"))) as podman:
        yield podman


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    return base_image(podman)


@pytest.fixture(scope="session")
def stillborn(podman: Podman) -> str:
    """An image whose shell watches over nobody."""
    return base_image(podman, "mahavishnu-test/stillborn", {"bin/sh": SHELL})


@pytest.fixture
def yard(app: App, podman: Podman, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Workers of a type that names Podman, in the tests' own; none may be left."""
    monkeypatch.setenv("CONTAINER_HOST", podman.url)
    (tmp_path / "workspace").mkdir()
    yield Yard(app, podman, image, tmp_path / "workspace")
    left = podman.remove_containers()
    assert left == [], f"containers left: {', '.join(left)}"


@pytest.fixture
def worker(yard):
    """Makes a worker, closed in the end."""
    return partial(yard.worker, runtime="podman")


async def test_three_workers_have_three_containers_which_are_gone_with_them(yard, podman):
    async with yard.manager(runtime="podman") as manager:
        workers = await manager.spawn_workers("boxed", 3, repo=yard.workspace)
        results = await manager.execute_batch(workers, ["echo hello; id -u; hostname"] * 3)
        assert len(podman.containers()) == 3
        await manager.close_all()
    said = [result.output.split() for result in results]
    assert [words[:2] for words in said] == [["hello", str(os.geteuid())]] * 3
    assert len({host for _, _, host in said}) == 3
    assert podman.containers() == []


async def test_the_exit_status_is_the_commands_own(worker):
    async with worker() as boxed:
        codes = [(await boxed.do(f"exit {code}")).exit_code for code in (0, 3, 125, 126, 127, 255)]
        killed = await boxed.do("kill -9 $$")
    assert codes == [0, 3, 125, 126, 127, 255]
    assert killed.status is WorkerStatus.FAILED
    assert killed.exit_code == 137


async def test_a_program_that_is_not_in_the_image_is_told(yard):
    yard.add_type(command_template="no-such-program", options={"runtime": "podman"})
    async with yard.worker() as boxed:
        result = await boxed.do("x")
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "spawn")


async def test_the_prompt_comes_in_by_the_standard_input(yard):
    yard.add_type(agent="generic", command_template="cat", options={"runtime": "podman"})
    prompt = "Grüße, $HOME `id`\n" * 1000
    async with yard.worker() as boxed:
        result = await boxed.do(prompt)
        assert boxed.stdout.decode() == prompt
    assert result.exit_code == 0


async def test_a_deadline_ends_a_command_that_ignores_it_and_the_container_takes_the_next(worker):
    async with worker() as boxed:
        result = await boxed.do(DEAF, 1)
        assert (result.status, result.metadata["warnings"]) == (WorkerStatus.TIMEOUT, [])
        assert "here" in boxed.stdout.decode()
        assert boxed.processes() == {}
        assert (await boxed.do("echo again")).output.strip() == "again"


async def test_what_a_command_leaves_running_is_ended_after_it(worker):
    async with worker() as boxed:
        result = await boxed.do("(trap '' TERM; sleep 61; sleep 62) & echo done")
        assert (result.exit_code, result.metadata["warnings"]) == (0, ["strays_ended"])
        assert boxed.processes() == {}


@pytest.mark.parametrize(
    ("command", "warnings"),
    [
        ("(kill -9 -1); sleep 64", []),
        ("kill -9 $PPID; sleep 64", ["strays_ended"]),
        ("kill -9 -1; sleep 64", ["container_restarted"]),
    ],
    ids=["with itself", "and is ended", "and goes on"],
)
async def test_a_command_that_ends_what_watches_over_it_is_no_success(worker, command, warnings):
    async with worker() as boxed:
        result = await boxed.do(f"echo before; {command}")
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, None), result
        assert result.metadata["warnings"] == warnings
        assert boxed.processes() == {}
        assert (await boxed.do("echo again")).output.strip() == "again"


async def test_a_command_that_is_lost_with_its_container_is_no_success(worker):
    async with worker() as boxed:
        await boxed.submit("echo here; sleep 61")
        await boxed.says(b"here")
        boxed.container.kill()
        result = await boxed.manager.wait_for_task(boxed.task.task_id)
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "container")
        again = await boxed.do("echo again")
        assert (again.exit_code, again.output.strip()) == (0, "again"), "it is started again"


async def test_a_command_whose_container_is_gone_is_no_success(worker):
    async with worker() as boxed:
        boxed.container.remove(force=True)
        result = await boxed.do("echo here")
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "container")
    assert (result.exit_code, result.error) == (
        None,
        "its container is gone: close the worker, and spawn another",
    )


async def test_what_ends_without_a_word_is_noticed_though_podman_takes_it_for_running(worker, stillborn):
    async with worker(image=stillborn) as boxed:
        result = await boxed.do("echo here")
    assert (result.status, result.exit_code) == (WorkerStatus.FAILED, None)
    assert result.duration_seconds < 20, "it is not waited for until its deadline"


async def test_another_user_works_in_a_container_that_cannot_be_changed(yard, worker):
    yard.workspace.chmod(0o777)
    async with worker(user="65534", read_only=True, tmpfs=["/scratch"]) as boxed:
        result = await boxed.do(
            "id -u; echo kept > ~/file; echo x > /scratch/x; echo mine > made; ! touch /new"
        )
        assert (result.exit_code, result.output.split()) == (0, ["65534"]), boxed.stderr
        again = await boxed.do("cat ~/file")
        assert again.output.strip() == "kept"
    assert (yard.workspace / "made").stat().st_uid == 65534


async def test_a_tmpfs_can_be_written_after_the_container_was_started_again(worker):
    async with worker(user="65534", read_only=True) as boxed:
        boxed.container.restart(timeout=0)
        result = await boxed.do("echo kept > ~/file && cat ~/file")
    assert result.output.strip() == "kept", result


async def test_want_of_memory_is_told(worker):
    async with worker(memory="32m") as boxed:
        result = await boxed.do("tail -c 100m /dev/zero")
        assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "oom"), result
        assert (await boxed.do("echo again")).output.strip() == "again"


async def test_a_task_whose_engine_was_killed_is_adopted_with_one_result(yard):
    yard.add_type(options={"runtime": "podman"})
    args = ["workers", "execute", "-t", "boxed", "-n", "1", "--repo", str(yard.workspace), "-p"]
    command = "mkfifo gate; echo here > bell; read _ < gate; echo finished; exit 3"
    async with trio.open_nursery() as nursery:
        with trio.fail_after(50):
            process = await nursery.start(
                partial(
                    trio.run_process, [PROGRAM, *args, command], stdout=DEVNULL, stderr=DEVNULL, check=False
                )
            )
            await until(lambda: (yard.workspace / "bell").exists() or process.poll() is not None)
            process.kill()
            await process.wait()
    async with yard.manager() as manager:
        (found,) = manager.monitor_workers()
        assert found.status is WorkerStatus.RUNNING
        (yard.workspace / "gate").write_text("\n")
        (task,) = yard.app.state.tasks(found.worker_id)
        result = await manager.wait_for_task(task.task_id)
        assert (result.exit_code, result.output.strip()) == (3, "finished")
        assert await manager.collect_results() == [result]
        await manager.close_all()


async def test_a_service_that_is_restarted_in_mid_task_is_not_noticed(worker, podman):
    async with worker() as boxed:
        os.mkfifo(boxed.yard.workspace / "gate")
        await boxed.submit("echo here; read _ < gate; exit 4")
        await boxed.says(b"here")
        await trio.to_thread.run_sync(podman.restart)
        (boxed.yard.workspace / "gate").write_text("\n")
        result = await boxed.manager.wait_for_task(boxed.task.task_id)
        assert result.exit_code == 4


async def test_what_is_left_of_a_worker_that_is_gone_is_swept(yard, podman, image):
    async with yard.worker(runtime="podman") as boxed:
        labels = boxed.container.labels | {"mahavishnu.worker": "gone", "mahavishnu.engine": "{}"}
        left = podman.client.containers.create(image, ["sleep", "61"], name="left", labels=labels)
        podman.client.containers.create(image, ["sleep", "61"], name="not-ours")
        listed = await boxed.manager.sweep()
        assert [leftover.name for leftover in listed.leftovers] == ["container left"]
        assert left.id in {container.id for container in podman.containers()}
        assert await boxed.manager.sweep(remove=True) == listed
        assert {each.name for each in podman.containers()} == {boxed.container.name, "not-ours"}
    assert podman.remove_containers() == ["not-ours"]


@pytest.mark.parametrize(
    ("image", "reason"), [("127.0.0.1:1/none", "connection refused"), ("NotLowerCase", "must be lowercase")]
)
async def test_an_image_that_cannot_be_had_is_one_clear_line(yard, image, reason):
    async with yard.manager(runtime="podman", image=image, pull="missing") as manager:
        with pytest.raises(MissingError, match=rf"^the image .* cannot be pulled: [^\n]*{reason}[^\n]*$"):
            await manager.spawn_workers("boxed", repo=yard.workspace)


def test_a_pull_is_told_of_by_podmans_words():
    """Seen in Podman 4.3."""
    steps = [
        {"status": status, "progressDetail": {}, "id": layer}
        for layer in ("bf778ffce223", "7935bc8f8ec2")
        for status in ("Pulling fs layer", "Download complete")
    ]
    assert [line.partition(",")[0] for line in progress_of(steps, "Download complete")] == [
        "0 of 1 layers",
        "1 of 1 layers",
        "1 of 2 layers",
        "2 of 2 layers",
    ]
