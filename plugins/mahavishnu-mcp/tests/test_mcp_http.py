"""The server over HTTP, in this process on real sockets: where it listens, and what it takes from whom."""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.server.mcpserver import Context
from trio.testing import wait_all_tasks_blocked

from mahavishnu_core.errors import UsageError
from mahavishnu_mcp import http as http_module
from mahavishnu_mcp.http import PATH, Address, open_http

from .serving import ERAS, PATIENCE, TOKEN, UNCLOSED, bare_server, open_client, require_service

pytestmark = [pytest.mark.mcp_server, pytest.mark.filterwarnings(UNCLOSED)]
MODERN = "2026-07-28"
LIST_TOOLS = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}'
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
).encode()
INITIALIZED = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'
TYPES = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
RIGHT = {"authorization": f"Bearer {TOKEN}"}


@attrs.frozen
class Web:
    """A server that runs, and a client without any token."""

    url: str
    client: httpx2.AsyncClient

    @property
    def port(self) -> int:
        return httpx2.URL(self.url).port

    @property
    def here(self) -> str:
        """Its host and port, as a request to it names them."""
        return f"127.0.0.1:{self.port}"

    async def post(self, body: bytes = LIST_TOOLS, query: str = "", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request("POST", query, content=body, headers=TYPES | named)

    async def request(self, method: str, rest: str = "", **options: object) -> httpx2.Response:
        with trio.fail_after(PATIENCE):
            return await self.client.request(method, self.url + rest, **options)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    def call(self, tool: str, *more: str) -> bytes:
        """A request for a tool without arguments, in the newer era."""
        meta = {"protocolVersion": MODERN, "clientCapabilities": {}}
        params = {
            "name": tool,
            "arguments": {},
            "_meta": {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()},
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = json.dumps(call).encode()
        headers = [f"MCP-Protocol-Version: {MODERN}", "Mcp-Method: tools/call", f"Mcp-Name: {tool}"]
        return self.head(*headers, *more, length=len(body)) + body

    def head(self, *more: str, length: int | None = None) -> bytes:
        """The head of a request that is let through."""
        lines = ["POST /mcp HTTP/1.1", f"Host: {self.here}", f"Authorization: Bearer {TOKEN}", *more]
        lines += [f"{name}: {value}" for name, value in TYPES.items()]
        lines += [] if length is None else [f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def open_web(host: str = "127.0.0.1", *allowed: str, server=None) -> AsyncIterator[Web]:
    with trio.fail_after(PATIENCE):
        async with (
            open_http(server or bare_server(), Address(host, 0, allowed), TOKEN) as url,
            httpx2.AsyncClient(timeout=None, verify=False) as client,
        ):
            yield Web(url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"), client)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web() as web:
        yield web


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind(("::1", 0))
    except OSError:
        return False
    return True


async def rest_of(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes; a reset is an end."""
    said = b""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError:
                return said
            if not data:
                return said
            said += data


# --- tokens, hosts and origins on every address

NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="there is no ::1")
BINDS = [
    ("127.0.0.1", "127.0.0.1"),
    ("localhost", "127.0.0.1"),
    pytest.param("::1", "[::1]", marks=NEEDS_IPV6),
    ("0.0.0.0", "machine.example"),
    pytest.param("::", "machine.example", marks=NEEDS_IPV6),
    ("127.0.0.1", "machine.example"),
]


@asynccontextmanager
async def bound(host: str, name: str) -> AsyncIterator[tuple[Web, str]]:
    """A server on an address, and a right value of the header Host."""
    allowed = [name] if name == "machine.example" else []
    async with open_web(host, *allowed) as web:
        yield web, f"{name}:{web.port}"


@pytest.mark.parametrize(("host", "name"), BINDS)
async def test_the_right_token_and_names_are_let_through_on_every_address(host, name):
    async with bound(host, name) as (web, right):
        answer = await web.post(INITIALIZE, host=right, origin=f"http://{right}", **RIGHT)
        assert answer.status_code == 200


@pytest.mark.parametrize(("host", "name"), BINDS)
async def test_h1_no_token_and_a_wrong_one_get_401_and_no_list_of_tools(host, name):
    async with bound(host, name) as (web, right):
        for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            answer = await web.post(host=right, **given)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "double" not in answer.text
        answer = await web.post(query=f"?token={TOKEN}&access_token={TOKEN}", host=right)
        assert answer.status_code == 401


@pytest.mark.parametrize(("host", "name"), BINDS)
async def test_h2_an_evil_host_gets_421(host, name):
    async with bound(host, name) as (web, _):
        for evil in ("evil.example", f"evil.example:{web.port}", f"localhost.evil.example:{web.port}"):
            for given in ({}, RIGHT):
                assert (await web.post(host=evil, **given)).status_code == 421


@pytest.mark.parametrize(("host", "name"), BINDS)
async def test_h2_an_evil_origin_gets_403(host, name):
    async with bound(host, name) as (web, right):
        for evil in ("http://evil.example", f"http://evil.example:{web.port}", "null"):
            for given in ({}, RIGHT):
                assert (await web.post(host=right, origin=evil, **given)).status_code == 403
            assert (await web.post(host="evil.example", origin=evil, **RIGHT)).status_code == 421


async def test_what_listens_on_all_addresses_does_not_go_by_the_name_of_one():
    async with open_web("0.0.0.0", "machine.example") as web:
        for name in ("127.0.0.1", "0.0.0.0", "localhost"):
            assert (await web.post(host=f"{name}:{web.port}", **RIGHT)).status_code == 421
        assert (await web.post(INITIALIZE, host="machine.example", **RIGHT)).status_code == 200


@pytest.mark.parametrize("mode", ERAS)
async def test_a_good_client_is_served_in_both_eras(web, mode):
    await require_service(web.url, mode)


async def test_a_tool_can_tell_who_calls():
    server = bare_server()

    @server.tool()
    async def caller(ctx: Context) -> list[int]:
        scope = ctx.request_context.request.scope
        return [scope["client"][1], scope["server"][1]]

    async with open_web(server=server) as web, await web.connect() as stream:
        await stream.send_all(web.call("caller", "Connection: close"))
        answer = (await rest_of(stream)).partition(b"\r\n\r\n")[2]
        ports = json.loads(answer)["result"]["structuredContent"]["result"]
        assert ports == [stream.socket.getsockname()[1], web.port]


async def test_the_token_stands_in_no_log_line(web, caplog):
    caplog.set_level(logging.DEBUG, logger="mahavishnu_mcp")
    caplog.set_level(logging.DEBUG, logger="mcp")
    await require_service(web.url)
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        await web.post(**headers, **RIGHT)
    await web.post(b"{", **RIGHT)
    assert "evil.example" in caplog.text
    assert TOKEN not in caplog.text


# --- where it may listen


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_an_address_of_this_machine_alone_needs_nothing_more(host):
    Address(host, 0).require_explicit(None)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "machine.example", "", "localhost.evil.example", "127.1"],
)
def test_h2_any_other_address_needs_a_token_and_a_name(host):
    for token, allowed in ((None, ()), (TOKEN, ()), (None, ("machine.example",)), ("", ("machine.example",))):
        with pytest.raises(UsageError, match="--allowed-host") as caught:
            Address(host, 0, allowed).require_explicit(token)
        assert len(str(caught.value).splitlines()) == 1
        assert TOKEN not in str(caught.value)
    Address(host, 0, ("machine.example",)).require_explicit(TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=NEEDS_IPV6)])
def test_a_port_in_use_is_said_on_one_line(host):
    with Address(host, 0).listen() as listening:
        port = listening.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on {host}, port {port}: .*in use") as caught:
            Address(host, port).listen()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "x" * 70, "a..b", "::1%none"])
def test_an_address_that_cannot_be_had_is_said_on_one_line(host):
    with pytest.raises(UsageError, match="cannot listen on") as caught:
        Address(host, 0).listen()
    assert len(str(caught.value).splitlines()) == 1


# --- what it does not take

FIVE_MB = b" " * 5_000_000
DEEP = b"[" * 100_000
DEEP_PARAMS = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": ' + b'{"a": ' * 100_000


@pytest.mark.parametrize("how", ["by length", "in chunks"])
async def test_h3_a_body_of_five_megabytes_gets_413(web, how):
    length, end = (len(FIVE_MB), b"") if how == "by length" else (None, b"0\r\n\r\n")
    more = [] if length else ["Transfer-Encoding: chunked"]
    sizes = b"%x\r\n" % 50_000
    body = FIVE_MB if length else b"".join([sizes + b" " * 50_000 + b"\r\n"] * 100)
    async with await web.connect() as stream:
        await stream.send_all(web.head(*more, length=length))
        await stream.send_all(body + end)  # all of it, before it looks for an answer
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 413")
    await require_service(web.url)


@pytest.mark.parametrize("version", [None, "2025-11-25", MODERN])
@pytest.mark.parametrize(
    "body",
    [DEEP, DEEP_PARAMS, b"", b"{", b"null", b"[]", b"1e999", b"9" * 5000, b"\xff\xfe", b"\x00", b'"\\ud800"'],
    ids=[
        "deep",
        "deep parameters",
        "empty",
        "half",
        "null",
        "list",
        "infinite",
        "long",
        "bytes",
        "nul",
        "half a pair",
    ],
)
async def test_h3_what_is_no_message_gets_400(web, body, version):
    versions = {} if version is None else {"mcp_protocol_version": version}
    answer = await web.post(body, **versions, **RIGHT)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("version", [None, MODERN])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json", ""])
async def test_h3_a_wrong_type_of_content_gets_400(web, kind, version):
    versions = {} if version is None else {"mcp_protocol_version": version}
    answer = await web.post(INITIALIZE, content_type=kind, **versions, **RIGHT)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 400),
        ("PUT", "", 405),
        ("OPTIONS", "", 405),
        ("PATCH", "", 405),
        ("TRACE", "", 405),
        ("BREW", "", 405),
        ("DELETE", "", 400),
        ("POST", "/../../etc/passwd", 404),
        ("GET", "/sse", 404),
        ("POST", "/%2e%2e/%00", 404),
        ("GET", "/" + "x" * 5000, 404),
    ],
)
async def test_other_methods_and_paths_are_refused(web, method, path, status):
    assert (await web.request(method, path, headers=RIGHT)).status_code == status
    assert (await web.request(method, path)).status_code == 401


@pytest.mark.parametrize("token", [f"Authorization: Bearer {TOKEN}\r\n", ""], ids=["token", "no token"])
async def test_a_websocket_is_refused(web, token, caplog):
    stream = await web.connect()
    async with stream:
        head = (
            f"GET /mcp HTTP/1.1\r\nHost: {web.here}\r\n{token}Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await stream.send_all(head.encode())
        await stream.send_eof()
        status = (await rest_of(stream)).split()[1]
    assert status in {b"401", b"406"}
    assert "Traceback" not in caplog.text


async def test_http_2_with_a_path_that_is_no_text_ends_nothing(web):
    """With it a client without a token ended the whole server, when that was hypercorn."""
    # :method GET, :scheme http, :path /\xff, :authority as given, all without compression
    block = b"\x82\x86\x44\x02/\xff\x41" + bytes([len(web.here)]) + web.here.encode()
    settings_frame = b"\0\0\0\4\0\0\0\0\0"
    headers_frame = len(block).to_bytes(3, "big") + b"\1\5\0\0\0\1" + block
    async with await web.connect() as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame + headers_frame)
        await stream.send_eof()
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 505")
    await require_service(web.url)


# --- how much at once


async def test_clients_that_reset_their_connections_before_they_are_looked_at_end_nothing(web):
    for _ in range(20):  # all before the server's task runs again
        with socket.create_connection(("127.0.0.1", web.port)) as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await require_service(web.url)


async def test_h3_two_hundred_idle_connections_do_not_keep_a_client_out(web):
    async with trio.open_nursery() as nursery:
        streams = [await web.connect() for _ in range(200)]
        for number, stream in enumerate(streams):
            nursery.start_soon(stream.send_all, web.head(length=100)[: number % 60])
        for mode in ERAS:
            await require_service(web.url, mode)
        for stream in streams:
            await stream.aclose()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """No more connections than that are kept."""
    monkeypatch.setattr(http_module, "_MOST_CONNECTIONS", 10)
    return 10


async def test_over_the_bound_the_longest_idle_connection_makes_room(few, web):
    async with _all_closed([await web.connect() for _ in range(few)]) as idle:
        await wait_all_tasks_blocked()
        await require_service(web.url)
        assert await rest_of(idle[0]) == b""
        with trio.move_on_after(0):  # while the newest has lost nothing
            await idle[-1].receive_some()
            pytest.fail("it was closed")


async def test_a_call_under_way_makes_no_room(few, nursery):
    running, release, done = trio.Event(), trio.Event(), trio.Event()
    server = bare_server()

    @server.tool()
    async def hold() -> str:
        running.set()
        await release.wait()
        return "held"

    async with open_web(server=server) as web, open_client(web.url, MODERN) as client:

        @nursery.start_soon
        async def call() -> None:
            assert (await client.call_tool("hold", {})).structured_content == {"result": "held"}
            done.set()

        await running.wait()
        async with _all_closed([await web.connect() for _ in range(3 * few)]):
            await wait_all_tasks_blocked()
            release.set()
            await done.wait()


async def test_where_all_connections_are_busy_a_new_one_is_closed(few):
    all_there = trio.Event()
    started = 0
    server = bare_server()

    @server.tool()
    async def hold() -> None:
        nonlocal started
        started += 1
        if started == few:
            all_there.set()
        await trio.sleep_forever()

    async with (
        open_web(server=server) as web,
        _all_closed([await web.connect() for _ in range(few)]) as streams,
    ):
        for stream in streams:
            await stream.send_all(web.call("hold"))
        await all_there.wait()
        async with await web.connect() as late:
            with trio.fail_after(5):
                assert await rest_of(late) == b""
        for stream in streams:
            with trio.move_on_after(0):
                pytest.fail(f"closed after {await stream.receive_some()!r}")


@asynccontextmanager
async def _all_closed(streams: list[trio.SocketStream]) -> AsyncIterator[list[trio.SocketStream]]:
    try:
        yield streams
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)


# --- the end


async def test_the_end_waits_for_no_client():
    """Neither for an idle one, nor for one in mid-request, nor for one that reads nothing of its answer."""
    server = bare_server()

    @server.tool()
    async def much() -> str:
        return "x" * 10_000_000

    async with open_web(server=server) as web:
        session = (await web.post(INITIALIZE, **RIGHT)).headers["mcp-session-id"]
        await web.post(INITIALIZED, mcp_session_id=session, **RIGHT)
        idle, half, deaf = [await web.connect() for _ in range(3)]
        await half.send_all(web.head(length=100) + b"{")
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        call = b'{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "much"}}'
        await deaf.send_all(web.head(f"Mcp-Session-Id: {session}", length=len(call)) + call)
        assert (await deaf.receive_some(100)).startswith(b"HTTP/1.1 200")
        await wait_all_tasks_blocked()
        ending = trio.current_time()
    assert trio.current_time() - ending < 1
    async with _all_closed([deaf, half, idle]):
        assert await rest_of(half) == await rest_of(idle) == b""
    with Address("127.0.0.1", web.port).listen():
        pass


async def test_nothing_is_left_open():
    before = _open_sockets()
    async with open_web() as web:
        for mode in ERAS:
            await require_service(web.url, mode)
        streams = [await web.connect() for _ in range(5)]
    for stream in streams:
        await stream.aclose()
    assert _open_sockets() == before


def _open_sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


# --- hostile bytes


def pieces_of(web: Web) -> list[bytes]:
    return [
        web.head(length=5),
        web.head("Transfer-Encoding: chunked"),
        web.head(f"mcp-protocol-version: {MODERN}", length=len(LIST_TOOLS)) + LIST_TOOLS,
        web.head("Mcp-Session-Id: 1", length=len(INITIALIZE)) + INITIALIZE,
        web.head(length=len(INITIALIZE)) + INITIALIZE,
        web.head().replace(b"POST", b"GET"),
        web.head().replace(TOKEN.encode(), b"wrong"),
        web.head("Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        web.head("Expect: 100-continue", length=5),
        f"GET /mcp HTTP/1.1\r\nHost: {web.here}\r\n".encode(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ]


@settings(max_examples=40, deadline=None)
@given(
    sent=st.lists(st.lists(st.integers(0, 14) | st.binary(max_size=30), max_size=6), min_size=1, max_size=5),
    leaves=st.booleans(),
)
def test_no_bytes_end_the_server(sent, leaves):
    async def attack() -> None:
        async with open_web() as web:
            pieces = pieces_of(web)
            async with trio.open_nursery() as nursery:
                for each in sent:
                    data = b"".join(pieces[piece] if isinstance(piece, int) else piece for piece in each)
                    nursery.start_soon(_throw, web, data, leaves)
            assert (await web.post(INITIALIZE, **RIGHT)).status_code == 200

    logging.disable()
    try:
        trio.run(attack)
    finally:
        logging.disable(logging.NOTSET)


async def _throw(web: Web, data: bytes, leaves: bool) -> None:
    """Send these bytes, then leave at once, or after what comes of them."""
    async with await web.connect() as stream:
        try:
            await stream.send_all(data)
            await stream.send_eof()
        except trio.BrokenResourceError:
            return
        if not leaves:
            await rest_of(stream)


def test_the_path_is_what_the_documents_say():
    assert PATH == "/mcp"
