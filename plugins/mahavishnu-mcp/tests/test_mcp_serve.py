"""The server as a process: its nine tools beside their twins, its end, and what goes on after it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import httpx2
import pytest
import trio
from mcp import Client, MCPError, StdioServerParameters

from mahavishnu_core.testing.processes import environment, gone, keepers, lives, open_files
from tests.installed import Site
from tests.keeping import Fifo

from .launching import PATIENCE, PROGRAM, House, Server, http_server, launched, stdio_client
from .serving import ERAS, UNCLOSED, open_client

pytest.importorskip("mahavishnu_cli")
pytest.importorskip("mahavishnu_shell")
pytestmark = [pytest.mark.mcp_server, pytest.mark.filterwarnings(UNCLOSED)]

BOTH_ERAS = pytest.mark.parametrize("mode", ERAS)


@pytest.fixture
def house(tmp_path: Path, nothing_left: None) -> House:
    return House.under(tmp_path)


async def call(client: Client, tool: str, **arguments: object) -> dict:
    """The data that a tool answers."""
    with trio.fail_after(PATIENCE):
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


# --- the nine tools, each beside its twin


def like_cli(report: dict) -> dict:
    """A task as the command line tells it: the same but for what leads further."""
    more = {"task_id", "worker_type", "is_final", "truncated", "output_size", "activity", "notice"}
    return {name: value for name, value in report.items() if name not in more and not name.endswith("_uri")}


@BOTH_ERAS
async def test_all_nine_tools_answer_what_their_twins_do(house, mode):
    arguments = ["mcp", "serve"]
    parameters = StdioServerParameters(
        command=str(PROGRAM), args=arguments, env=dict(house.environ), cwd=house.work
    )
    async with Client(parameters, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 9

        ours = (await call(client, "worker_spawn", worker_type="shell", count=3))["worker_ids"]
        theirs = await house.command("workers", "spawn", "-t", "shell", "-n", "1")
        assert len(ours) == 3
        listed = (await call(client, "worker_list"))["workers"]
        assert sorted(line["worker_id"] for line in listed) == sorted([*ours, *theirs])
        assert listed == await house.command("workers", "list")

        one = await call(client, "worker_execute", worker_id=ours[0], prompt="echo one; exit 3")
        assert (one["status"], one["output"]) == ("failed", "one")
        assert [like_cli(one)] == await house.command("workers", "results", ours[0])
        (two,) = await house.command("workers", "execute", "--worker", theirs[0], "-p", "echo two")
        collected = await call(client, "worker_collect_results", worker_ids=theirs)
        assert like_cli(collected["results"][theirs[0]]) == two

        batch = await call(
            client, "worker_execute_batch", worker_ids=ours[1:], prompts=["echo three", "echo four"]
        )
        assert batch["refused"] == []
        assert [
            like_cli(report) for reports in batch["results"].values() for report in reports
        ] == await house.command("workers", "results", *ours[1:])
        everything = await call(client, "worker_collect_results")
        twins = await house.command("workers", "results")
        told = {worker_id: like_cli(report) for worker_id, report in everything["results"].items()}
        assert told == {result["worker_id"]: result for result in twins}

        monitored = await call(client, "worker_monitor", interval=0)
        assert [*monitored["workers"].values()] == (await house.command("workers", "monitor"))["workers"]
        assert monitored["all_ended"] is True
        assert await call(client, "worker_health") == await house.command("workers", "health")

        closed = await call(client, "worker_close", worker_id=ours[0])
        assert closed == {"closed": [ours[0]], "already_closed": []}
        again = await house.command("workers", "close", ours[0])
        assert again == {"closed": [], "already_closed": [ours[0]]}
        assert await call(client, "worker_close", worker_id=ours[0]) == again
        rest = await call(client, "worker_close_all")
        assert rest == {
            "closed": sorted([*ours[1:], *theirs]),
            "already_closed": [],
            "removed": [],
            "not_swept": [],
        }
        assert await house.command("workers", "list") == []
        assert (await call(client, "worker_list"))["workers"] == []


# --- the end of the server, and what goes on


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Fifo]:
    """Where a command says that it has begun."""
    with closing(Fifo.make(tmp_path / "bell")) as fifo:
        yield fifo


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Fifo]:
    """Where a command waits for the test."""
    with closing(Fifo.make(tmp_path / "gate")) as fifo:
        yield fifo


@pytest.fixture
def waiting(bell: Fifo, gate: Fifo) -> str:
    return f"echo begun; echo here > {bell.path}; read x < {gate.path}; echo done"


async def collected(client: Client, worker_id: str) -> dict:
    """What came of a worker's task, when it has ended; asked for twice, with the same answer."""
    with trio.fail_after(PATIENCE):
        while not (await call(client, "worker_monitor", worker_ids=[worker_id], interval=20))["all_ended"]:
            pass
    first, second = [await call(client, "worker_collect_results", worker_ids=[worker_id]) for _ in range(2)]
    assert first == second
    return first["results"][worker_id]


SIGNALS = [
    pytest.param(signal.SIGINT, 130, id="SIGINT"),
    pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
    pytest.param(signal.SIGHUP, 129, id="SIGHUP"),
    pytest.param(signal.SIGKILL, -9, id="SIGKILL"),
]
ENDS = [pytest.param(None, 0, id="end of input"), *SIGNALS]


async def end(server: Server, number: signal.Signals | None, status: int) -> None:
    began = trio.current_time()
    if number is None:
        await server.process.stdin.aclose()
    else:
        server.process.send_signal(number)
    assert await server.ended() == status
    assert trio.current_time() - began < 5  # it takes a tenth of a second
    assert b"Traceback" not in server.err


@BOTH_ERAS
@pytest.mark.parametrize(("number", "status"), ENDS)
async def test_e2_a_task_outlives_its_server_and_the_next_one_collects_it(
    house, waiting, bell, gate, mode, number, status
):
    async with stdio_client(house, mode) as (server, client), trio.open_nursery() as nursery:
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]

        @nursery.start_soon
        async def wait_in_vain() -> None:
            with pytest.raises(MCPError):
                await client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": waiting})

        assert await bell.line() == "here"
        await end(server, number, status)
    async with stdio_client(house, mode) as (_, client):
        (line,) = (await call(client, "worker_list"))["workers"]
        assert line["status"] == "running"
        gate.let_in()
        result = await collected(client, worker_id)
        assert (result["status"], result["output"]) == ("completed", "begun\ndone")
    (told,) = await house.command("workers", "results")
    assert told == like_cli(result)


@pytest.mark.parametrize(("number", "status"), SIGNALS)
async def test_a_server_over_http_ends_likewise(house, waiting, bell, gate, number, status):
    async with (
        http_server(house) as (server, url, token),
        open_client(url, "legacy", token) as client,
        trio.open_nursery() as nursery,
    ):
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]

        @nursery.start_soon
        async def wait_in_vain() -> None:
            with suppress(MCPError):
                await client.call_tool("worker_execute", {"worker_id": worker_id, "prompt": waiting})

        assert await bell.line() == "here"
        await end(server, number, status)
        nursery.cancel_scope.cancel()
    gate.let_in()
    async with http_server(house) as (_, url, again):
        assert again == token
        async with open_client(url, "legacy", token) as client:
            assert (await collected(client, worker_id))["output"] == "begun\ndone"


async def test_an_ignored_signal_stays_ignored(house):
    ignoring = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    async with launched(house, through=ignoring) as server, Client(server.transport()) as client:
        await call(client, "worker_list")
        server.process.send_signal(signal.SIGHUP)
        for _ in range(3):
            await call(client, "worker_list")
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 143


@BOTH_ERAS
async def test_five_megabytes_of_a_task_that_outlived_its_server_are_read_whole(house, bell, gate, mode):
    numbers = "".join(f"{number} " for number in range(1, 800_001))
    whole = "\n".join(numbers[place : place + 1000] for place in range(0, len(numbers), 1000))[:5_000_000]
    prompt = (
        f"echo here > {bell.path}; read x < {gate.path}; "
        "seq 1 800000 | tr '\\n' ' ' | fold -w 1000 | head -c 5000000; echo; echo end"
    )
    async with stdio_client(house, mode) as (server, client):
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]
        task = await call(client, "worker_execute", worker_id=worker_id, prompt=prompt, wait=False)
        assert task["is_final"] is False
        assert await bell.line() == "here"
        await end(server, signal.SIGKILL, -9)
    gate.let_in()
    async with stdio_client(house, mode) as (_, client):
        result = await collected(client, worker_id)
        assert (result["status"], result["truncated"]) == ("completed", True)
        assert result["output_size"] == len(whole) + len("\nend")
        found = ""
        while len(found) < result["output_size"]:
            uri = f"{result['output_uri']}?offset={len(found)}&length=700000"
            (content,) = (await client.read_resource(uri)).contents
            assert content.text
            found += content.text
    assert found == whole + "\nend"


async def test_garbage_and_a_message_that_is_too_long_do_not_end_it(house):
    async with stdio_client(house, "legacy") as (server, client):
        await server.send(b"garbage")
        await server.send(b'{"jsonrpc": "2.0", "id": 7, "method": "' + b"x" * 16 * 1024 * 1024 + b'"}')
        await server.said("is refused: 16777216 is the most")
        await server.send(b"\xff\xfe\x1b[31m")
        assert (await call(client, "worker_list"))["workers"] == []
        await end(server, None, 0)
    assert b"a line of 7 bytes is no message" in server.err
    assert server.err.decode().replace("\n", "").isprintable()


@pytest.mark.parametrize(("number", "status"), ENDS)
async def test_a_client_that_reads_nothing_keeps_it_from_no_end(house, number, status):
    async with launched(house) as server:
        with trio.move_on_after(PATIENCE):
            await server.send(INITIALIZE)
            assert await server.line(0)
            server.stop_listening()
            for number_of_call in range(100):  # each answer is some kilobytes
                await server.send({"jsonrpc": "2.0", "id": number_of_call, "method": "tools/list"})
        await end(server, number, status)


# --- a client that is gone

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
META = {"io.modelcontextprotocol/protocolVersion": ERAS[1], "io.modelcontextprotocol/clientCapabilities": {}}
CLIENT = """
import subprocess, sys
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write(sys.argv[1].encode())
server.stdin.flush()
print(server.pid, flush=True)
server.stdout.read()
"""
"""A client that starts a server, sends it these lines, and reads on."""


def execution(worker_id: str, prompt: str, **more: object) -> dict[str, object]:
    arguments = {"worker_id": worker_id, "prompt": prompt}
    params = {"name": "worker_execute", "arguments": arguments, **more}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@BOTH_ERAS
async def test_h4_a_task_outlives_a_client_that_is_killed_in_mid_call(house, waiting, bell, gate, mode):
    (worker_id,) = await house.command("workers", "spawn", "-t", "shell")
    legacy = [INITIALIZE, INITIALIZED, execution(worker_id, waiting)]
    messages = legacy if mode == "legacy" else [execution(worker_id, waiting, _meta=META)]
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = [sys.executable, "-c", CLIENT, lines, PROGRAM, "mcp", "serve"]
    options = {"env": house.environ, "cwd": house.work, "stdout": subprocess.PIPE}
    client = await trio.lowlevel.open_process(command, **options)
    with trio.fail_after(PATIENCE):
        server = int(await client.stdout.receive_some())
        assert await bell.line() == "here"
        client.kill()
        await client.wait()
        await gone(server)
    await client.stdout.aclose()
    gate.let_in()
    await require_asked_twice(house, worker_id)


async def require_asked_twice(house: House, worker_id: str) -> None:
    """The result of the task, whole and the same from two servers one after the other."""
    results = []
    for mode in ERAS:
        async with stdio_client(house, mode) as (_, client):
            results.append(await collected(client, worker_id))
    assert results[0] == results[1]
    assert (results[0]["status"], results[0]["output"]) == ("completed", "begun\ndone")


@asynccontextmanager
async def http_call(
    url: str, token: str, message: dict | None, method: str = "POST", **headers: str
) -> AsyncIterator[httpx2.Response]:
    """A request in the raw, and its answer as it comes; leaving the block closes the connection."""
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    async with (
        httpx2.AsyncClient(timeout=PATIENCE, verify=False, headers=headers) as http,
        http.stream(method, url, json=message) as answer,
    ):
        yield answer


@asynccontextmanager
async def http_session(url: str, token: str) -> AsyncIterator[dict[str, str]]:
    """The header of a session of the older era, which nobody ends."""
    async with http_call(url, token, INITIALIZE) as answer:
        session = {"mcp_session_id": answer.headers["mcp-session-id"]}
    async with http_call(url, token, INITIALIZED, **session):
        yield session


@pytest.mark.parametrize("leave", ["breaks", "is deleted"])
async def test_h4_over_http_in_the_older_era_a_task_outlives_its_session(house, waiting, bell, gate, leave):
    (worker_id,) = await house.command("workers", "spawn", "-t", "shell")
    async with (
        http_server(house) as (server, url, token),
        http_session(url, token) as session,
        open_client(url, "legacy", token) as client,
    ):
        async with http_call(url, token, execution(worker_id, waiting), **session) as answer:
            assert answer.status_code == 200
            assert await bell.line() == "here"
            if leave == "is deleted":
                async with http_call(url, token, None, "DELETE", **session) as deleted:
                    assert deleted.status_code == 200
        (line,) = (await call(client, "worker_list"))["workers"]
        assert line["status"] == "running"
        gate.let_in()
        assert (await collected(client, worker_id))["output"] == "begun\ndone"
        assert b"Traceback" not in server.err
    await require_asked_twice(house, worker_id)


async def test_over_http_in_the_older_era_a_call_is_cancelled_by_saying_so(house, waiting, bell):
    (worker_id,) = await house.command("workers", "spawn", "-t", "shell")
    async with http_server(house) as (_, url, token), http_session(url, token) as session:
        async with http_call(url, token, execution(worker_id, waiting), **session):
            assert await bell.line() == "here"
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
            async with http_call(url, token, cancelled, **session):
                pass
        async with open_client(url, "legacy", token) as client:
            assert (await collected(client, worker_id))["status"] == "cancelled"


async def test_over_http_in_the_newer_era_closing_the_connection_cancels(house, waiting, bell):
    (worker_id,) = await house.command("workers", "spawn", "-t", "shell")
    async with http_server(house) as (server, url, token):
        message = execution(worker_id, waiting, _meta=META | {"progressToken": 1})
        headers = {"mcp_protocol_version": ERAS[1], "mcp_method": "tools/call", "mcp_name": "worker_execute"}
        async with http_call(url, token, message, **headers) as answer:
            assert answer.status_code == 200
            assert await bell.line() == "here"
        async with open_client(url, ERAS[1], token) as client:
            assert (await collected(client, worker_id))["status"] == "cancelled"
        assert b"Traceback" not in server.err


# --- cancelling


@asynccontextmanager
async def client_over(transport: str, house: House, mode: str) -> AsyncIterator[Client]:
    if transport == "stdio":
        async with stdio_client(house, mode) as (_, client):
            yield client
    else:
        async with http_server(house) as (_, url, token), open_client(url, mode, token) as client:
            yield client


STUBBORN = """
trap '' TERM
setsid sh -c "echo \\$\\$ > {work}/grandchild; echo here > {bell}; exec sleep 1000" &
sh -c "echo \\$\\$ > {work}/child; echo here > {bell}; exec sleep 1000" &
echo begun
wait
"""
"""A family that ignores TERM, one of it in a session of its own."""


@BOTH_ERAS
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_cancelling_a_call_ends_the_whole_family(house, bell, mode, transport):
    prompt = STUBBORN.format(bell=bell.path, work=house.work)
    heard: list[str] = []
    has_begun = trio.Event()

    async def progress(count: float, total: float | None, message: str | None) -> None:
        heard.append(message)
        if "begun" in message:
            has_begun.set()

    async with client_over(transport, house, mode) as client:
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def execute() -> None:
                arguments = {"worker_id": worker_id, "prompt": prompt}
                await client.call_tool("worker_execute", arguments, progress_callback=progress)

            with trio.fail_after(PATIENCE):
                assert await bell.lines(2) == ["here", "here"]
                await has_begun.wait()
            family = [int((house.work / name).read_text()) for name in ("child", "grandchild")]
            assert all(map(lives, family))
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            for pid in family:
                await gone(pid)
        result = await collected(client, worker_id)
        assert (result["status"], result["output"]) == ("cancelled", "begun")
    assert "given" in heard[0]


async def test_the_server_does_not_stay_for_those_whose_end_was_asked_for(house, bell):
    """They are ended all the same: their place sees to that."""
    prompt = STUBBORN.format(bell=bell.path, work=house.work)
    async with stdio_client(house, "legacy") as (server, client):
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]
        async with trio.open_nursery() as nursery:
            arguments = {"worker_id": worker_id, "prompt": prompt}
            nursery.start_soon(client.call_tool, "worker_execute", arguments)
            with trio.fail_after(PATIENCE):
                assert await bell.lines(2) == ["here", "here"]
            nursery.cancel_scope.cancel()
        await call(client, "worker_list")  # it has heard
        began = trio.current_time()
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 143
        assert trio.current_time() - began < 4  # less than they get to end by themselves
    with trio.fail_after(PATIENCE):
        for name in ("child", "grandchild"):
            await gone(int((house.work / name).read_text()))
    async with stdio_client(house, "legacy") as (_, client):
        assert (await collected(client, worker_id))["status"] == "cancelled"


# --- nothing but the protocol on standard output

NOISY = """
import os, subprocess, sys, warnings
from mahavishnu_core import hookimpl

HOOK_API = 1
print("NOISE at import", flush=True)
warnings.warn("NOISE of a warning", stacklevel=1)


def noise(where):
    print(f"NOISE in {where}", flush=True)
    os.write(1, f"NOISE in the raw in {where}\\n".encode())
    warnings.warn(f"NOISE of a warning in {where}", stacklevel=1)
    subprocess.run(["/bin/sh", "-c", f"echo NOISE of a child in {where}; readlink /proc/self/fd/0; cat"])


@hookimpl
def worker_types():
    noise("worker_types")
    return []


@hookimpl
def monitor(event):
    noise("monitor")


@hookimpl
def register_tools(server):
    noise("register_tools")

    @server.tool()
    def noisy() -> str:
        noise("a tool")
        return "quiet"
"""


@BOTH_ERAS
async def test_h5_every_line_on_standard_output_is_the_protocol(house, mode):
    site = Site(house.path / "site")
    site.path.mkdir()
    site.install("noisy", NOISY)
    path = os.pathsep.join(filter(None, [str(site.path), os.environ.get("PYTHONPATH")]))
    noise = (
        "echo out; echo err >&2; readlink /proc/self/fd/0; cat; head -c 1000000 /dev/urandom >&2; "
        "head -c 300000 /dev/urandom; printf '\\377\\000\\033[31mno newline'"
    )
    async with stdio_client(house, mode, PYTHONPATH=path, PYTHONWARNINGS="default") as (server, client):
        assert (await call(client, "noisy")) == {"result": "quiet"}
        (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]
        result = await call(client, "worker_execute", worker_id=worker_id, prompt=noise)
        assert result["output"].splitlines()[:2] == ["out", "/dev/null"]
        await end(server, None, 0)
    assert server.lines.pop() == b""
    for line in server.lines:
        assert json.loads(line)["jsonrpc"] == "2.0"
        assert b"NOISE" not in line
    said = server.err.decode()
    for where in ("worker_types", "monitor", "register_tools", "a tool"):
        for kind in ("NOISE in", "NOISE in the raw in", "NOISE of a warning in", "NOISE of a child in"):
            assert f"{kind} {where}" in said
    assert "NOISE at import" in said
    assert said.count("/dev/null\n") == said.count("NOISE of a child")


# --- tokens


@pytest.mark.parametrize("given", [None, "correct-horse-battery-staple"])
async def test_h1_no_worker_and_no_file_but_its_own_has_the_token(house, given):
    variables = {"MAHAVISHNU_MCP_TOKEN": given} if given else {}
    async with http_server(house, **variables) as (server, url, token):
        assert (house.state / "mcp-token").exists() is (given is None)
        async with open_client(url, "legacy", token) as client:
            (worker_id,) = (await call(client, "worker_spawn", worker_type="shell"))["worker_ids"]
            prompt = "env; cat /proc/$PPID/environ | tr '\\0' '\\n'; echo end"
            result = await call(client, "worker_execute", worker_id=worker_id, prompt=prompt)
            assert "PATH=" in result["output"]
            assert result["output"].endswith("end")
            assert "MCP_TOKEN" not in result["output"]
            assert token not in result["output"]
        async with httpx2.AsyncClient(verify=False) as http:
            assert (await http.post(url, headers={"authorization": f"Bearer x{token}"})).status_code == 401
            assert (await http.post(f"{url}?token={token}", headers={"host": "evil"})).status_code == 421
        for keeper in keepers(house.state):
            assert token.encode() not in environment(keeper.pid)
        await server.said("evil")
        assert token not in server.err.decode()
        assert token not in house.texts()


async def test_servers_that_start_at_the_same_time_agree_on_a_token(house):
    tokens = []

    async def start() -> None:
        async with http_server(house) as (_, url, _):
            tokens.append(house.token())
            async with open_client(url, "legacy", house.token()) as client:
                await call(client, "worker_list")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(start)
    assert len(set(tokens)) == 1


# --- what is refused before it serves


@pytest.mark.parametrize(
    ("arguments", "token", "words", "status"),
    [
        (["--host", "0.0.0.0"], None, "--allowed-host", 2),
        (["--host", "0.0.0.0"], "correct-horse-battery-staple", "--allowed-host", 2),
        (["--host", "0.0.0.0", "--allowed-host", "here"], None, "MAHAVISHNU_MCP_TOKEN", 2),
        (["--host", "::", "--allowed-host", "here"], "", "MAHAVISHNU_MCP_TOKEN", 2),
        ([], "too-short", "at least 16", 2),
        (["--port", "{used}"], None, "port {used}: Address already in use", 2),
        (["--port", "65536"], None, "65536 is not in the range", 2),
        (["--root", "nowhere"], None, "'nowhere' is not a directory", 2),
    ],
)
def test_what_cannot_be_served_is_said_on_one_line(house, arguments, token, words, status):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        given = [argument.format(used=port) for argument in arguments]
        port_given = [] if "--port" in given else ["--port", "0"]
        variables = {} if token is None else {"MAHAVISHNU_MCP_TOKEN": token}
        done = house.run("mcp", "serve", "--transport", "http", *port_given, *given, **variables)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert words.format(used=port) in line
    assert not token or token not in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "9000"], "--port is for HTTP: add --transport http, or leave it out"),
        (["install", "--client", "qwen"], "nothing was written, as nobody answers: pass --yes to write"),
    ],
)
def test_what_a_script_must_say_is_said_on_the_last_line(house, arguments, said):
    done = house.run("mcp", *arguments)
    assert (done.returncode, done.stdout.strip()) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"mahavishnu: {said}")


def test_a_token_that_others_may_read_is_refused(house):
    house.state.mkdir(0o700)
    (house.state / "mcp-token").write_text("correct-horse-battery-staple")
    (house.state / "mcp-token").chmod(0o640)
    done = house.run("mcp", "serve", "--transport", "http", "--port", "0")
    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert "others may read" in line
    assert "correct-horse" not in line


@pytest.mark.parametrize("closing", ["<&-", ">&-", "<&- >&-"])
def test_where_standard_streams_are_closed_no_client_is_there(house, closing):
    command = [f"exec {PROGRAM} mcp serve {closing}"]
    done = subprocess.run(
        ["/bin/sh", "-c", *command],
        env=house.environ,
        cwd=house.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- how much at once


async def test_six_hundred_connections_do_not_keep_a_client_out(house):
    async with http_server(house) as (server, url, token), AsyncExitStack() as stack:
        before = len(open_files(server.pid))
        port = httpx2.URL(url).port
        for _ in range(600):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        for mode in ERAS:
            async with open_client(url, mode, token) as client:
                assert (await call(client, "worker_list"))["workers"] == []
        assert len(open_files(server.pid)) <= before + 512 + 1
        await end(server, signal.SIGTERM, 143)
