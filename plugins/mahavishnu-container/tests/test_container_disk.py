"""A command in a container fills the disk that our state lies on."""

from __future__ import annotations

import os
import subprocess

import pytest

from mahavishnu_core import WorkerStatus
from mahavishnu_core.keeper.room import AHEAD

from .yard import until

pytestmark = pytest.mark.container


@pytest.fixture
def small_disk(yard):
    """The state directory on a disk of four megabytes."""
    root = yard.app.state.root
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", root], check=True)
    yield root
    subprocess.run(["umount", "--lazy", root], check=True)


async def test_a_command_that_fills_the_disk_is_reported_as_soon_as_there_is_room(yard, small_disk):
    async with yard.worker() as boxed:
        await boxed.do("head -c 10000000 /dev/zero; exit 3")
        (failure,) = boxed.manager.storage_failures
        assert (failure.storage, failure.error[:17]) == ("state directory", "the disk is full:")
        assert boxed.processes() == {}
        os.truncate(boxed.task.directory / "stdout.jsonl", 0)
        await until(lambda: boxed.manager.app.state.exit(boxed.task))
        (result,) = await boxed.manager.collect_results()
        assert (result.status, result.exit_code) == (WorkerStatus.FAILED, 3)
        assert (await boxed.do("echo again")).output == "again"


ANSWER = """echo '{"type": "message", "text": "begun"}'
until [ -e gate ]; do sleep 0.1; done
echo '{"type": "result", "result": "the answer"}'"""


async def test_room_is_held_for_what_an_agent_says_last(yard):
    """As for one on this machine: its output is the same file, whatever name it has in its box."""
    yard.add_type(agent="generic", command_template="sh -c {prompt}", progress_tracking="stream-json")
    async with yard.worker() as boxed:
        task_id = await boxed.submit(ANSWER)
        output = boxed.task.directory / "stdout.jsonl"
        await until(lambda: output.exists() and held(output) >= AHEAD)
        (yard.workspace / "gate").touch()
        result = await boxed.manager.wait_for_task(task_id)
    assert (result.status, result.output) == (WorkerStatus.COMPLETED, "the answer")
    assert held(output) < AHEAD


def held(path):
    return path.stat().st_blocks * 512
