"""What clients do to a server that runs as a process, and that others are served as if they did not."""

from __future__ import annotations

import json
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
import trio
from mcp import Client

from .launching import PATIENCE, PROGRAM, House, http_server, stdio_client
from .serving import ERAS, UNCLOSED, open_client

pytest.importorskip("mahavishnu_cli")
pytest.importorskip("mahavishnu_shell")
pytestmark = [pytest.mark.mcp_server, pytest.mark.filterwarnings(UNCLOSED)]

TOKEN = "correct-horse-battery-staple"
LIST_TOOLS = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}'
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}).encode()
TYPES = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
ESCAPES = "\x1b[2J\x1b]0;owned\x07"


@pytest.fixture
def house(tmp_path: Path, nothing_left: None) -> House:
    return House.under(tmp_path)


async def post(url: str, body: bytes = LIST_TOOLS, **headers: str) -> httpx2.Response:
    named = TYPES | {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        return await http.post(url, content=body, headers=named)


async def test_h1_without_the_token_nothing_is_told_and_no_log_has_it(house):
    async with http_server(house) as (server, url, token):
        assert stat.S_IMODE((house.state / "mcp-token").stat().st_mode) == 0o600
        refused = [
            await post(url),
            await post(url, authorization="Bearer wrong"),
            await post(url, authorization=f"Basic {token}"),
            await post(f"{url}?token={token}&access_token={token}"),
        ]
        assert [answer.status_code for answer in refused] == [401] * 4
        assert [answer for answer in refused if "worker_spawn" in answer.text or token in answer.text] == []
        assert (await post(url, host="evil.example", authorization=f"Bearer {token}")).status_code == 421
        async with open_client(url, "legacy", token) as client:
            assert "worker_spawn" in {tool.name for tool in (await client.list_tools()).tools}
        await server.said("evil.example")
        assert token not in server.err.decode()
        assert token not in house.texts()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_h2_names_that_are_not_ours_are_refused_on_every_address(house, address):
    more = [] if address == "127.0.0.1" else ["--allowed-host", "machine.example"]
    arguments = ["--host", address, *more]
    async with http_server(house, *arguments, MAHAVISHNU_MCP_TOKEN=TOKEN) as (server, url, token):
        url = url.replace("0.0.0.0", "127.0.0.1")
        right = {"authorization": f"Bearer {token}", "host": "machine.example" if more else url.split("/")[2]}
        assert (await post(url, INITIALIZE, **right)).status_code == 200
        assert (await post(url, **right | {"host": "evil.example"})).status_code == 421
        assert (await post(url, origin="http://evil.example", **right)).status_code == 403
        assert b"Traceback" not in server.err


async def test_h3_others_are_served_while_clients_misbehave(house):
    async with http_server(house) as (server, url, token), AsyncExitStack() as stack:
        port = httpx2.URL(url).port
        for _ in range(200):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        client = await stack.enter_async_context(open_client(url, "legacy", token))
        right = {"authorization": f"Bearer {token}"}
        answers: list[int] = []

        async def misbehave(body: bytes, **headers: str) -> None:
            answers.append((await post(url, body, **right | headers)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(misbehave, b" " * 5_000_000)
                nursery.start_soon(misbehave, b'{"jsonrpc": "2.0", "id": 1, "params": ' + b"[" * 100_000)
                nursery.start_soon(lambda: misbehave(LIST_TOOLS, content_type="text/plain"))
            with trio.fail_after(PATIENCE):
                while len(answers) < 9:
                    began = trio.current_time()
                    assert not (await client.call_tool("worker_list", {})).is_error
                    assert trio.current_time() - began < 5
        assert sorted(answers) == [400] * 6 + [413] * 3
        assert b"Traceback" not in server.err


WORKERS = {
    "an id that is a path": ("worker_execute", {"worker_id": "../../etc", "prompt": "x"}),
    "an id that a terminal obeys": ("worker_close", {"worker_id": ESCAPES}),
    "a directory outside": ("worker_spawn", {"worker_type": "shell", "repo": "/"}),
    "a link that leads outside": ("worker_spawn", {"worker_type": "shell", "repo": "way out"}),
    "a type that a terminal obeys": ("worker_spawn", {"worker_type": ESCAPES}),
    "too many workers": ("worker_spawn", {"worker_type": "shell", "count": 1_000_000}),
}


@pytest.mark.parametrize("mode", ERAS)
async def test_h6_what_must_not_be_asked_for_is_an_error_of_the_tool(house, mode):
    (house.work / "way out").symlink_to("/")
    async with stdio_client(house, mode) as (server, client):
        worker_id = (await told(client, "worker_spawn", worker_type="shell"))["worker_ids"][0]
        million = {"worker_ids": [worker_id] * 1_000_000, "prompts": ["x"] * 1_000_000}
        for tool, arguments in [*WORKERS.values(), ("worker_execute_batch", million)]:
            result = await called(client, tool, arguments)
            assert result.is_error
            (content,) = result.content
            assert content.text.isprintable()
            assert len(content.text) < 1000
        assert len((await told(client, "worker_list"))["workers"]) == 1
        asks = ["workers execute -t shell -n 1 -p 'touch ran'", "workers list --json"]
        back = "; ".join(
            [f"export MAHAVISHNU_STATE_DIR='{house.state}'", *(f"{PROGRAM} {each}" for each in asks)]
        )
        result = await told(client, "worker_execute", worker_id=worker_id, prompt=f"({back}) 2>&1")
        refusal, listed = result["output"].splitlines()
        assert "this is itself a worker (depth 1)" in refusal
        assert [line["worker_id"] for line in json.loads(listed)] == [worker_id], "it may look"
        assert not (house.work / "ran").exists()
        assert b"Traceback" not in server.err


async def called(client: Client, tool: str, arguments: dict[str, object]):
    with trio.fail_after(PATIENCE):
        return await client.call_tool(tool, arguments)


async def told(client: Client, tool: str, **arguments: object) -> dict:
    """The data that a tool answers."""
    result = await called(client, tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content
