"""A connection over HTTP/1.1, in memory and by the mock clock: what is served, who is not waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from mahavishnu_mcp import connection as connection_module
from mahavishnu_mcp.connection import IDLE, Connection

PATIENCE = 600.0
"""By the mock clock: whoever waits that long waits for ever."""
REQUEST = b"POST /mcp?a=b HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello"


async def echo(scope, receive, send) -> None:
    """Answers with what it was asked."""
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
    words = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode() + body
    length = (b"content-length", b"%d" % len(words))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": words})


async def hang(scope, receive, send) -> None:
    await trio.sleep_forever()


async def refuse(scope, receive, send) -> None:
    """Answers without a look at the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


@pytest.fixture
def opened(nursery: trio.Nursery) -> Callable[..., trio.StapledStream]:
    """Opens a connection to an application; the client's end of it."""

    def start(app, pair=memory_stream_pair) -> trio.StapledStream:
        client, server = pair()
        nursery.start_soon(Connection(server, app).serve)
        return client

    return start


async def everything(client: trio.StapledStream) -> bytes:
    """What comes until the server closes."""
    said = b""
    with trio.fail_after(PATIENCE):
        while data := await client.receive_some():
            said += data
    return said


async def one(client: trio.StapledStream, end: bytes) -> bytes:
    """What comes up to these bytes."""
    said = b""
    with trio.fail_after(PATIENCE):
        while end not in said:
            said += await client.receive_some() or pytest.fail(f"closed after {said!r}")
    return said


# --- what is served


async def test_requests_on_one_connection_are_answered_one_after_the_other(autojump_clock, opened):
    client = opened(echo)
    for _ in range(3):
        await client.send_all(REQUEST)
        assert b"HTTP/1.1 200" in await one(client, b"POST /mcp a=b hello")


async def test_requests_that_come_at_once_are_answered_in_order(autojump_clock, opened):
    client = opened(echo)
    await client.send_all(REQUEST + REQUEST.replace(b"hello", b"there") + b"GET / HTTP/1.0\r\n\r\n")
    said = await everything(client)
    assert said.index(b"hello") < said.index(b"there") < said.index(b"GET / ")
    assert said.count(b"HTTP/1.1 200") == 3


async def test_a_body_in_chunks_is_put_together(autojump_clock, opened):
    client = opened(echo)
    await client.send_all(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
    for word in (b"one ", b"two"):
        await client.send_all(b"%x\r\n%b\r\n" % (len(word), word))
    await client.send_all(b"0\r\n\r\n")
    assert await one(client, b"POST /  one two")


async def test_a_client_that_asks_for_leave_to_send_its_body_gets_it(autojump_clock, opened):
    client = opened(echo)
    await client.send_all(REQUEST[:-5].replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert (await one(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    await client.send_all(b"hello")
    assert await one(client, b"POST /mcp a=b hello")


async def test_a_refused_client_does_not_get_it(autojump_clock, opened):
    client = opened(refuse)
    await client.send_all(REQUEST[:-5].replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert (await everything(client)).startswith(b"HTTP/1.1 401")


async def test_the_answer_to_head_has_no_body(autojump_clock, opened, caplog):
    client = opened(echo)
    await client.send_all(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n" + REQUEST)
    said = await one(client, b"hello")
    assert b"content-length: 8" in said
    assert b"HEAD" not in said
    assert caplog.messages == []


async def test_every_answer_is_dated(autojump_clock, opened):
    client = opened(echo)
    await client.send_all(REQUEST)
    assert b"\r\ndate: " in await one(client, b"hello")


async def test_a_client_that_leaves_is_told_to_the_application(autojump_clock, opened):
    heard = trio.Event()

    async def wait(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()

    client = opened(wait)
    await client.send_all(REQUEST)
    await wait_all_tasks_blocked()
    await client.send_eof()
    with trio.fail_after(1):
        await heard.wait()


@pytest.mark.parametrize("sent", [1, len(REQUEST) - 2])
async def test_a_client_that_leaves_in_mid_request_gets_no_answer(autojump_clock, opened, sent):
    client = opened(echo)
    await client.send_all(REQUEST[:sent])
    await client.send_eof()
    assert b"200" not in await everything(client)


# --- what is refused

CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # without a host
        (b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (
            b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n",
            b"400",
        ),
    ],
)
async def test_what_is_no_request_gets_one_answer_and_the_end(autojump_clock, opened, sent, status, caplog):
    client = opened(echo)
    await client.send_all(sent)
    said = await everything(client)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in said
    assert caplog.messages == []


HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
}


async def test_http_2_is_not_spoken(autojump_clock, opened):
    client = opened(echo)
    await client.send_all(HTTP2)
    assert (await everything(client)).startswith(b"HTTP/1.1 505")


@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_a_request_for_another_protocol_is_one_like_any_other(autojump_clock, opened, upgrade):
    client = opened(echo)
    await client.send_all(b"GET /mcp HTTP/1.1\r\nHost: here\r\n" + UPGRADES[upgrade] + b"\r\n")
    assert (await one(client, b"GET /mcp ")).startswith(b"HTTP/1.1 200")


async def test_an_application_that_fails_is_logged_and_the_client_gets_500(autojump_clock, opened, caplog):
    async def fail(scope, receive, send):
        raise ExceptionGroup("both", [KeyError("no luck"), OSError("none")])

    client = opened(fail)
    await client.send_all(REQUEST)
    assert (await everything(client)).startswith(b"HTTP/1.1 500")
    assert "no luck" in caplog.text


async def test_an_application_that_fails_in_mid_answer_ends_the_connection(autojump_clock, opened, caplog):
    async def fail(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("no luck")

    client = opened(fail)
    await client.send_all(REQUEST)
    said = await everything(client)
    assert b"half" in said
    assert b"0\r\n\r\n" not in said  # the end of a body in chunks


async def test_an_application_that_says_nothing_is_a_500(autojump_clock, opened):
    async def say_nothing(scope, receive, send):
        await receive()

    client = opened(say_nothing)
    await client.send_all(REQUEST)
    assert (await everything(client)).startswith(b"HTTP/1.1 500")


async def test_a_refusal_arrives_though_the_client_still_sends(autojump_clock, opened):
    client = opened(refuse)
    await client.send_all(REQUEST[:-1])
    assert (await one(client, b"no")).startswith(b"HTTP/1.1 401")
    await client.send_all(b"o" * 100_000)  # nothing is broken yet
    await client.send_eof()
    assert await everything(client) == b""


# --- who is not waited for


async def test_a_client_that_says_nothing_is_left(autojump_clock, opened):
    client = opened(echo)
    began = trio.current_time()
    assert await everything(client) == b""
    assert trio.current_time() - began == IDLE


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(autojump_clock, opened):
    client = opened(echo)
    began = trio.current_time()
    with suppress(trio.BrokenResourceError):
        for byte in REQUEST * 10:
            await client.send_all(bytes([byte]))
            await trio.sleep(1)
    assert trio.current_time() - began <= IDLE + 1


async def test_a_connection_is_kept_for_a_while_after_each_answer(autojump_clock, opened):
    client = opened(echo)
    for _ in range(3):
        await trio.sleep(IDLE - 1)
        await client.send_all(REQUEST)
        await one(client, b"hello")
    began = trio.current_time()
    assert await everything(client) == b""
    assert trio.current_time() - began == IDLE


async def test_an_answer_may_take_as_long_as_it_likes(autojump_clock, opened):
    async def work(scope, receive, send):
        await trio.sleep(PATIENCE / 2)
        await echo(scope, receive, send)

    client = opened(work)
    await client.send_all(REQUEST)
    assert await one(client, b"hello")


async def test_a_client_that_reads_nothing_is_left_and_the_application_hears_of_it(autojump_clock, opened):
    heard = trio.Event()

    async def flood(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def listen():
                assert (await receive())["type"] == "http.disconnect"
                heard.set()

            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    client = opened(flood, lockstep_stream_pair)
    await client.send_all(REQUEST)
    began = trio.current_time()
    with trio.fail_after(PATIENCE):
        await heard.wait()
    assert trio.current_time() - began == connection_module._TAKING


async def test_a_client_that_takes_a_little_now_and_then_is_waited_for(autojump_clock, opened):
    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"last words"})

    client = opened(stream, lockstep_stream_pair)
    await client.send_all(REQUEST)
    said = b""
    while b"last words" not in said:
        await trio.sleep(connection_module._TAKING - 1)
        said += await client.receive_some()


async def test_a_client_that_never_stops_sending_after_its_refusal_is_left(autojump_clock, opened):
    client = opened(refuse)
    await client.send_all(REQUEST[:-1])
    await one(client, b"no")
    began = trio.current_time()
    with suppress(trio.BrokenResourceError):
        while True:
            await client.send_all(b"o")
            await trio.sleep(0.1)
    assert trio.current_time() - began <= connection_module._PARTING + 0.1


async def test_what_is_asked_during_an_answer_is_kept_within_bounds(autojump_clock, opened, nursery):
    release = trio.Event()

    async def work(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        nursery.start_soon(receive)
        await release.wait()
        await refuse(scope, receive, send)

    client, server = memory_stream_pair()
    served = Connection(server, work)
    nursery.start_soon(served.serve)
    await client.send_all(REQUEST)
    for _ in range(20):
        await client.send_all(b"x" * 65536)
        await wait_all_tasks_blocked()
    assert len(served._http.trailing_data[0]) <= 3 * 65536
    release.set()
    assert b"HTTP/1.1 401" in await one(client, b"no")


@pytest.mark.parametrize("state", ["waiting", "reading", "working", "writing", "parting"])
async def test_cancelling_ends_it_at_once_in_every_state(state, autojump_clock):
    apps = {"working": hang, "parting": refuse}
    pair = lockstep_stream_pair if state == "writing" else memory_stream_pair
    client, server = pair()
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Connection(server, apps.get(state, echo)).serve)
            if state != "waiting":
                await client.send_all(REQUEST[:-1] if state in {"reading", "parting"} else REQUEST)
            if state == "parting":
                await one(client, b"no")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_since_when_it_waits_is_known(nursery, autojump_clock):
    client, server = memory_stream_pair()
    served = Connection(server, hang)
    nursery.start_soon(served.serve)
    await trio.sleep(1)
    assert served.waits_since == trio.current_time() - 1
    await client.send_all(REQUEST)
    await wait_all_tasks_blocked()
    assert served.waits_since == float("inf")


# --- hostile bytes

PIECES = st.sampled_from(
    [
        REQUEST,
        HTTP2,
        b"GET /mcp HTTP/1.1\r\nHost: here\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: here\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"CONNECT here:1 HTTP/1.1\r\nHost: here\r\n\r\n",
    ]
)


@pytest.mark.thorough
@given(sent=st.lists(PIECES | st.binary(max_size=40), max_size=12), app=st.sampled_from([echo, refuse]))
@example(sent=[REQUEST, b"CONNECT here:1 HTTP/1.1\r\nHost: here\r\n\r\n", b"x"], app=refuse)
def test_no_bytes_are_fatal(sent, app):
    async def attack() -> None:
        client, server = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Connection(server, app).serve)
            try:
                for piece in sent:
                    await client.send_all(piece)
                    await trio.lowlevel.checkpoint()
                await client.send_eof()
            except trio.BrokenResourceError:  # it has left already
                pass
            with trio.fail_after(PATIENCE):
                while await client.receive_some():
                    pass

    logging.disable()
    try:
        trio.run(attack, clock=MockClock(autojump_threshold=0))
    finally:
        logging.disable(logging.NOTSET)
