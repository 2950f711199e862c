"""What errors advise: tools, where the command line has its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mcp import MCPError

import mahavishnu_core
from mahavishnu_core.errors import UsageError
from mahavishnu_core.testing.fakes import Hang
from mahavishnu_mcp.answers import error_text

COMMAND = re.compile(r"'mahavishnu workers ([a-z]+)")
WITHOUT_A_TOOL = {"types"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("list them with 'mahavishnu workers list --all'", "list them with worker_list"),
        ("'mahavishnu workers monitor w', or 'mahavishnu workers close'", "worker_monitor, or worker_close"),
        ("end all with 'mahavishnu workers close --all'", "end all with worker_close_all"),
        ("switch it on with 'mahavishnu config set a b'", "switch it on with 'mahavishnu config set a b'"),
        ("there is no 'mahavishnu workers nothing'", "there is no 'mahavishnu workers nothing'"),
    ],
)
def test_a_command_is_told_as_the_tool_that_does_the_same(said, told):
    assert error_text(UsageError(said)) == told


def test_every_command_that_the_core_advises_has_its_tool():
    files = Path(mahavishnu_core.__file__).parent.rglob("*.py")
    advised = {name for path in files for name in COMMAND.findall(path.read_text())}
    assert advised
    told = {name: error_text(UsageError(f"'mahavishnu workers {name}'")) for name in advised}
    assert {name for name, words in told.items() if not words.startswith("worker_")} == WITHOUT_A_TOOL


async def test_a_client_is_told_of_tools_wherever_an_error_reaches_it(autojump_clock, desk, place):
    place.does(Hang())
    (busy,) = await desk.spawn()
    await desk.begin(busy)
    said = await desk.refused("worker_close", worker_id="nobody")
    assert said == "there is no worker 'nobody': list them with worker_list"
    said = await desk.refused("worker_execute", worker_id=busy, prompt="more")
    assert said.endswith("wait for it with worker_monitor, or end it with worker_close")
    batch = await desk.call("worker_execute_batch", worker_ids=[busy], prompts=["more"])
    assert [refusal["error"] for refusal in batch["refused"]] == [said]
    with pytest.raises(MCPError, match=r"there is no task 'x\.1': .* worker_collect_results$"):
        await desk.read("mahavishnu://tasks/x.1/output")
