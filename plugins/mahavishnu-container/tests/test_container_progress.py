"""Programs in a container report how far they are, and it is told among what they say."""

from __future__ import annotations

import pytest
import trio

from mahavishnu_core.events import Notice, Progress, Text
from mahavishnu_core.output import events_so_far
from tests.documents import document

from .daemon import require_programs
from .images import reporting_image

pytestmark = pytest.mark.container
COMMANDS = [
    line.replace("| nc ", "| /bin/nc ")  # Busybox has one of its own, which knows no such sockets
    for block in document("docs/containers.md").blocks("text")
    for line in block.splitlines()
    if "$MAHAVISHNU_PROGRESS" in line
]
"""The document's commands, one for each program that a shell may have."""


@pytest.fixture
def reporting(yard):
    require_programs("nc.openbsd", "socat")
    yard.image = reporting_image(yard.daemon)
    return yard


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: command.split("| ")[1].split()[0].split("/")[-1]
)
async def test_a_report_is_told_live_and_afterwards_where_it_was_made(reporting, command):
    told = []
    async with reporting.worker() as boxed:
        boxed.manager.observe(lambda item: told.append((item.seq, item.event)))
        result = await boxed.do(f"echo before; {command}; echo after")
        read = [event for events in events_so_far(boxed.manager.app, boxed.task) for event in events]
    assert (result.output, result.metadata["reason"]) == ("before\nafter", None)
    assert [event for _, event in told][:3] == [Text("before"), Progress("half way", 0.5), Text("after")]
    assert [seq for seq, _ in told] == list(range(1, len(told) + 1))
    assert [event for _, event in told] == read


async def test_a_report_is_told_before_the_command_has_ended(reporting):
    said, heard = trio.Event(), []

    def listen(item):
        heard.append(item.event)
        if isinstance(item.event, Progress):
            said.set()

    async with reporting.worker() as boxed, trio.open_nursery() as nursery:
        boxed.manager.observe(listen)
        nursery.start_soon(boxed.do, f"{COMMANDS[0]}; sleep 1000")
        await said.wait()
        assert heard == [Progress("half way", 0.5)]
        await boxed.manager.cancel_task(boxed.task.task_id, grace_seconds=0)


async def test_what_is_no_report_is_told_as_that_and_harms_nothing(reporting):
    told = []
    async with reporting.worker() as boxed:
        boxed.manager.observe(lambda item: told.append(item.event))
        result = await boxed.do('echo "{nonsense" | /bin/nc -NU "$MAHAVISHNU_PROGRESS"')
    assert result.is_success()
    assert [event.kind for event in told if isinstance(event, Notice)] == ["malformed"]
