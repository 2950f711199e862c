"""The MCP inspector, from npm, as a client by its command line: both transports, both eras of MCP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import attrs
import pytest

from tests.mcp_clients import PROGRAM, Home, require_in_path, run

pytestmark = pytest.mark.mcp_client

TOOLS = [
    "worker_spawn",
    "worker_execute",
    "worker_execute_batch",
    "worker_list",
    "worker_monitor",
    "worker_collect_results",
    "worker_close",
    "worker_close_all",
    "worker_health",
]


@attrs.frozen
class Inspector:
    """The inspector before a server, in one of the eras."""

    home: Home
    target: Sequence[str]
    era: str

    async def run(self, method: str, *options: str) -> CompletedProcess[str]:
        command = ["mcp-inspector", "--cli", *self.target, "--protocol-era", self.era, "--method", method]
        return await run(
            [*command, *options, "--quiet", "--format", "json"], self.home.work, self.home.environ
        )

    async def ask(self, method: str, *options: str):
        """What comes of a method that succeeds, and of which there is nothing else to say."""
        done = await self.run(method, *options)
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)["result"]

    async def call(self, tool: str, **arguments: object):
        """The data that a tool answers."""
        options = ["--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        result = await self.ask("tools/call", *options)
        assert result["isError"] is False
        return result["structuredContent"]


@pytest.fixture
def home(tmp_path: Path, nothing_left: None) -> Home:
    require_in_path("mcp-inspector")
    return Home(tmp_path)


@pytest.fixture(params=["legacy", "modern"])
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["stdio", "http"])
async def inspector(request: pytest.FixtureRequest, home: Home, era: str) -> AsyncIterator[Inspector]:
    if request.param == "stdio":
        state_dir = f"MAHAVISHNU_STATE_DIR={home.environ['MAHAVISHNU_STATE_DIR']}"
        yield Inspector(home, [PROGRAM, "mcp", "serve", "-e", state_dir], era)
    else:
        async with home.serve() as (url, token):
            yield Inspector(home, [url, "--header", f"Authorization: Bearer {token}"], era)


async def test_every_client_can_take_the_schemas_of_our_tools(inspector: Inspector) -> None:
    tools = (await inspector.ask("tools/list", "--strict"))["tools"]
    assert [tool["name"] for tool in tools] == TOOLS


async def test_a_worker_is_spawned_given_a_task_and_listed(inspector: Inspector) -> None:
    (worker_id,) = (await inspector.call("worker_spawn", worker_type="shell", count=1))["worker_ids"]
    report = await inspector.call("worker_execute", worker_id=worker_id, prompt="echo 'grüß dich'")
    assert (report["status"], report["output"]) == ("completed", "grüß dich")
    (line,) = (await inspector.call("worker_list"))["workers"]
    assert (line["worker_id"], line["status"], line["task_id"]) == (
        worker_id,
        "completed",
        report["task_id"],
    )
    uri = f"{report['output_uri']}?offset=2&length=4"
    (part,) = (await inspector.ask("resources/read", "--uri", uri))["contents"]
    assert (part["uri"], part["mimeType"], part["text"]) == (uri, "text/plain", "üß")


async def test_what_is_not_there_is_told_in_a_line(inspector: Inspector) -> None:
    done = await inspector.run("resources/read", "--uri", "mahavishnu://tasks/nobody.1/output")
    assert done.returncode == 1
    assert "there is no task 'nobody.1'" in json.loads(done.stderr)["error"]["message"]
    call = ["--tool-name", "worker_execute", "--tool-args-json", '{"worker_id": "nobody", "prompt": "go"}']
    done = await inspector.run("tools/call", *call)
    result = json.loads(done.stdout)["result"]
    assert result["isError"] is True
    assert "there is no worker 'nobody'" in result["content"][0]["text"]


async def test_resource_templates_and_prompts_are_listed(inspector: Inspector) -> None:
    templates = (await inspector.ask("resources/templates/list"))["resourceTemplates"]
    assert [template["uriTemplate"] for template in templates] == [
        "mahavishnu://tasks/{task_id}/output{?offset,length}",
        "mahavishnu://tasks/{task_id}/transcript{?offset,length}",
        "mahavishnu://tasks/{task_id}/stderr{?offset,length}",
        "mahavishnu://workers/{worker_id}",
    ]
    prompts = (await inspector.ask("prompts/list"))["prompts"]
    assert [prompt["name"] for prompt in prompts] == ["fan_out", "review_results"]


async def test_without_the_token_nothing_is_told(home: Home, era: str) -> None:
    async with home.serve() as (url, _):
        done = await Inspector(home, [url, "--stored-auth-only"], era).run("tools/list")
    assert done.returncode != 0
    assert not done.stdout
    assert json.loads(done.stderr)["error"]["code"] == "auth_required"
