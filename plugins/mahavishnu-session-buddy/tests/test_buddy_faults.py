"""The tests' own Session-Buddy fails as it is told to, and the real client notices."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio
from mcp import Client

from .asking import STATS, STORE, TROUBLE, ask, call, message, post, say, text_of
from .buddy import HttpBuddy
from .faults import EVERYTHING, LOCKED, Drop, Flood, Garbage, Pretence, Says, Silence, Status
from .http_server import Gate
from .memory import STORE_MEMORY
from .mirroring import UNCLOSED

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings(UNCLOSED)]


async def test_a_silent_tool_goes_on_when_it_is_released(buddy):
    buddy.faults.set(STORE, Silence(), times=1)
    texts = []

    async def store():
        texts.append(await say(buddy.url, STORE, content="late"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store)
        await buddy.called(STORE)
        assert buddy.memory.rows == []
        buddy.release()
    assert buddy.memory.contents == ["late"]
    assert "stored successfully" in texts[0]


async def test_a_call_that_nobody_waits_for_is_not_done(buddy):
    buddy.faults.set(STORE, Silence())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(buddy.url, STORE, content="late"))
        await buddy.called(STORE)
        nursery.cancel_scope.cancel()
    buddy.release()
    buddy.refuse()  # returns when every request has come to its end
    assert (buddy.memory.calls, buddy.memory.rows) == ([(STORE, {"content": "late"})], [])


def test_whoever_leaves_is_not_let_on_by_a_release():
    gate, (near, far) = Gate(), socket.socketpair()
    ticket = gate.ticket()
    gate.release()
    with near:
        assert gate.wait(ticket, near)
        far.close()
        assert not gate.wait(ticket, near)
    gate.clear()


async def test_a_buddy_that_answers_nothing_lets_nobody_in(buddy):
    buddy.faults.set(EVERYTHING, Silence())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(buddy.url, STATS))
        await buddy.asked()
        nursery.cancel_scope.cancel()
    assert (buddy.methods, len(buddy.tokens)) == ([], 1)


@pytest.mark.parametrize(
    ("place", "fault", "rows"),
    [
        (EVERYTHING, Status(500), 0),
        (EVERYTHING, Status(200, "<html>"), 0),
        (EVERYTHING, Garbage(), 0),
        (EVERYTHING, Drop(), 0),
        ("initialize", Garbage(), 0),
        (STORE, Status(503), 0),
        (STORE, Drop(), 0),
        (STORE, Drop(in_stream=True), 0),
        (STORE, Drop(after=True), 1),
        (STORE, Drop(after=True, in_stream=True), 1),
        (STORE, Garbage(), 1),
        (STORE, Flood(), 1),
    ],
    ids=str,
)
async def test_a_broken_wire_is_an_error_of_the_client(buddy, place, fault, rows):
    buddy.faults.set(place, fault)
    with pytest.raises(TROUBLE):
        await ask(buddy.url, STORE, content="x")
    assert len(buddy.memory.rows) == rows


async def test_what_was_wrong_is_right_when_the_faults_are_cleared(buddy):
    buddy.faults.set(EVERYTHING, Status(500))
    buddy.faults.set(STATS, Drop())
    buddy.faults.clear()
    assert "reflections: 0" in await say(buddy.url, STATS)


async def test_a_flood_comes_through_where_it_is_no_stream(buddy):
    buddy.is_streaming = False
    buddy.faults.set(STATS, Flood(2 << 20))
    assert len(await say(buddy.url, STATS)) == 2 << 20


@pytest.mark.parametrize(
    ("fault", "is_error", "rows"),
    [
        (Says(LOCKED), False, 0),
        (Says("Error storing reflection: late", after=True), False, 1),
        (Says("Error calling tool", is_error=True), True, 0),
    ],
)
async def test_a_tool_answers_another_text(buddy, fault, is_error, rows):
    buddy.faults.set(STORE, fault)
    result = await ask(buddy.url, STORE, content="x")
    assert (text_of(result), result.is_error, len(buddy.memory.rows)) == (fault.text, is_error, rows)


async def test_a_pretence_stores_nothing(buddy):
    buddy.faults.set(STORE, Pretence(), times=1)
    assert "stored successfully" in await say(buddy.url, STORE, content="x")
    assert buddy.memory.rows == []


async def test_a_fault_for_some_times_goes_away(buddy):
    buddy.faults.set(STORE, Says("❌ no"), times=2)
    async with Client(buddy.url) as client:
        texts = [text_of(await client.call_tool(STORE, {"content": "x"})) for _ in range(3)]
    assert [text == "❌ no" for text in texts] == [True, True, False]
    assert len(buddy.memory.calls) == 3


def test_a_fault_of_a_tool_is_not_set_where_there_is_none(buddy):
    with pytest.raises(AssertionError, match="is for tools"):
        buddy.faults.set("tools/list", Pretence())


async def test_a_tool_can_be_missing_and_another_be_there(buddy):
    del buddy.memory.offers[STORE]
    buddy.memory.offers["store_memory"] = STORE_MEMORY
    assert await say(buddy.url, STORE, content="x") == "Unknown tool: 'store_reflection'"
    assert "stored successfully" in await say(buddy.url, "store_memory", content="x", metadata={"a": 1})
    assert [(row.content, row.metadata) for row in buddy.memory.rows] == [("x", {"a": 1})]


async def test_who_has_no_token_is_not_let_in(buddy):
    buddy.token = "hush"
    with pytest.raises(TROUBLE):
        await ask(buddy.url, STATS)
    assert set(buddy.tokens) == {None}
    status, headers, _ = post(buddy, message("initialize"), token="Bearer wrong")
    assert (status, headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert post(buddy, message("initialize"), token="Bearer hush")[0] == 200
    assert buddy.tokens[-2:] == ["Bearer wrong", "Bearer hush"]


def test_nothing_is_left_of_a_closed_buddy():
    def sockets():
        return sum(each.is_socket() for each in Path("/proc/self/fd").iterdir())

    def servers():
        return sum(
            "process_request" in each.name or "serve_forever" in each.name for each in threading.enumerate()
        )

    before = (sockets(), servers())
    with closing(HttpBuddy()) as buddy:
        buddy.start()
        buddy.faults.set(STORE, Silence())
        session = post(buddy, message("initialize"))[1]["mcp-session-id"]
        waiting = http.client.HTTPConnection("127.0.0.1", buddy.port)
        waiting.request("POST", "/mcp", json.dumps(call(STORE, content="x")), {"mcp-session-id": session})
        trio.run(buddy.called, STORE)
    waiting.close()
    assert (sockets(), servers()) == before
    assert buddy.memory.rows == []
