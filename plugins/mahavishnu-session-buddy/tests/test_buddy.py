"""The tests' own Session-Buddy speaks and forgets as the real one does; the client is the real one."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from .asking import FIND, FLUSH, LIMIT, SEARCH, STATS, STORE, TROUBLE, ask, call, message, post, say, text_of
from .buddy import HttpBuddy
from .mirroring import UNCLOSED
from .stdio_buddy import NOISE, StdioBuddy, load

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings(UNCLOSED)]


# --- the protocol


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_the_client_falls_back_from_discovery_to_the_handshake(buddy, is_streaming):
    buddy.is_streaming = is_streaming
    async with Client(buddy.url) as client:
        assert (client.server_info.name, client.server_info.version) == ("session-buddy", "0.23.0")
        assert client.protocol_version == "2025-11-25"
    assert buddy.methods == ["server/discover", "initialize", "notifications/initialized"]


async def test_the_tools_are_listed_as_the_real_server_lists_them(buddy):
    real = json.loads((Path(__file__).parent / "tools.json").read_text())
    async with Client(buddy.url) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [STORE, FIND, SEARCH, FLUSH, STATS]
    assert [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed] == real


def test_the_answer_is_one_event_of_a_stream(buddy):
    status, headers, body = post(buddy, message("initialize", protocolVersion="2025-06-18"))
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert body.startswith('event: message\r\ndata: {"jsonrpc":"2.0","id":1,"result":')
    assert body.endswith("}\r\n\r\n")
    assert '"protocolVersion":"2025-06-18"' in body
    session = headers["mcp-session-id"]
    assert '"result":{}' in post(buddy, message("ping"), session=session)[2]
    assert '"message":"Invalid request parameters"' in post(buddy, message("foo/bar"), session=session)[2]
    assert post(buddy, {"jsonrpc": "2.0", "method": "notifications/x"}, session=session)[0] == 202


def test_the_answer_can_be_plain_json(buddy):
    buddy.is_streaming = False
    status, headers, body = post(buddy, message("initialize"))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["result"]["serverInfo"]["name"] == "session-buddy"


def test_what_belongs_to_no_session_is_refused_as_by_the_real_server(buddy):
    error = '{{"jsonrpc": "2.0", "id": "server-error", "error": {{"code": -32600, "message": "{}"}}}}'
    status, headers, body = post(buddy, message("server/discover"))
    assert (status, body) == (400, error.format("Bad Request: Missing session ID"))
    strange = headers["mcp-session-id"]
    status, _, body = post(buddy, message("ping"), session=strange)
    assert (status, body) == (404, error.format("Session not found"))


def test_a_request_may_be_wrong_in_many_ways(buddy):
    session = post(buddy, message("initialize"))[1]["mcp-session-id"]
    assert post(buddy, b"{nope", session=session)[0] == 400
    assert post(buddy, b"x" * ((4 << 20) + 1), session=session)[::2] == (413, "Request body too large")
    assert post(buddy, message("ping"), path="/x")[0] == 404
    status, headers, _ = post(buddy, message("ping"), path="/mcp/")
    assert (status, headers["location"]) == (307, buddy.url)


def test_a_session_ends_by_delete_and_there_is_no_stream_to_get(buddy):
    session = post(buddy, message("initialize"))[1]["mcp-session-id"]
    found = []
    with closing(http.client.HTTPConnection("127.0.0.1", buddy.port, timeout=LIMIT)) as connection:
        for method in ("GET", "DELETE", "DELETE"):
            connection.request(method, "/mcp", headers={"mcp-session-id": session})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
    assert found == [405, 200, 404]


# --- what the tools answer


async def test_a_reflection_is_stored_and_echoed(buddy):
    result = await ask(buddy.url, STORE, content="x" * 101, tags=["a", "b c"])
    first, *rest = text_of(result).split("\n")
    assert first == "💾 Reflection stored successfully!"
    assert rest[:2] == [f"📝 Content: {'x' * 97}...", "🏷️ Tags: a, b c"]
    assert rest[2].startswith("📅 Stored: 20")
    assert result.structured_content == {"result": text_of(result)}
    assert not result.is_error
    assert [(row.content, row.tags) for row in buddy.memory.rows] == [("x" * 101, ["a", "b c"])]


async def test_what_was_stored_is_read_back_in_full(buddy):
    content = "w_1 ünï\u202e \x1b[1m \x00 " + "long " * 1000
    await ask(buddy.url, STORE, content=content, tags=["t"])
    result = await ask(buddy.url, SEARCH, query="w_1", threshold=1.01, content_type="reflection")
    (found,) = result.structured_content["results"]
    assert (found["content"], found["tags"], found["similarity"]) == (content, ["t"], 1.0)
    assert sorted(found) == [
        *("content", "content_type", "created_at", "id", "similarity", "tags", "updated_at"),
    ]
    assert json.loads(text_of(result)) == result.structured_content


@pytest.mark.parametrize("content", ["", " \n"])
async def test_an_empty_content_is_refused_without_an_error(buddy, content):
    result = await ask(buddy.url, STORE, content=content)
    assert not result.is_error
    assert text_of(result) == "❌ Validation error: Store reflection - content cannot be empty"
    assert buddy.memory.rows == []


async def test_a_refused_call_is_recorded_with_the_others(buddy):
    result = await ask(buddy.url, "store_memory", content="a")
    assert result.is_error
    assert text_of(result) == "Unknown tool: 'store_memory'"
    assert result.structured_content is None
    await ask(buddy.url, STORE, content="b")
    assert buddy.memory.calls == [("store_memory", {"content": "a"}), (STORE, {"content": "b"})]


# --- what a restart leaves


@pytest.mark.parametrize("end", [HttpBuddy.stop, HttpBuddy.kill])
async def test_every_end_loses_what_was_not_flushed_and_the_first_flush_mends_it(buddy, end):
    await ask(buddy.url, STORE, content="first")
    await ask(buddy.url, FIND, query="first")
    end(buddy)
    buddy.start()
    assert buddy.memory.contents == []
    await ask(buddy.url, STORE, content="second")
    assert (await say(buddy.url, FLUSH)).split("\n") == [
        "🔄 Reflection database connection reset",
        "✅ New connection established successfully",
        "💡 Database locks should be resolved",
    ]
    await ask(buddy.url, STORE, content="third")
    end(buddy)
    buddy.start()
    assert buddy.memory.contents == ["second", "third"]


async def test_a_refusing_buddy_loses_nothing(buddy):
    await ask(buddy.url, STORE, content="kept")
    buddy.refuse()
    with pytest.raises(TROUBLE):
        await ask(buddy.url, STATS)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", buddy.port))
    buddy.start()
    assert "📈 Total reflections: 1" in await say(buddy.url, STATS)


async def test_a_session_does_not_outlive_the_server(buddy):
    async def outlive():
        async with Client(buddy.url) as client:
            buddy.kill()
            buddy.start()
            await client.call_tool(STORE, {"content": "lost"}, read_timeout_seconds=LIMIT)

    with pytest.raises(TROUBLE):
        await outlive()
    assert buddy.memory.calls == []


# --- over stdin and stdout


@pytest.fixture
def stdio(tmp_path):
    return StdioBuddy(tmp_path / "state.json")


def parameters(buddy):
    program, *arguments = buddy.command
    return StdioServerParameters(command=program, args=arguments)


async def test_over_stdio_a_reflection_is_kept_where_a_test_can_see_it(stdio):
    result = await ask(parameters(stdio), STORE, content="héllo", tags=["t"])
    assert "stored successfully" in text_of(result)
    assert [(row.content, row.tags) for row in stdio.memory.rows] == [("héllo", ["t"])]
    assert stdio.memory.calls == [(STORE, {"content": "héllo", "tags": ["t"]})]


def run(stdio, *messages):
    """All that a stdio buddy writes to these messages."""
    given = "".join(json.dumps(each) + "\n" for each in messages)
    return subprocess.run(stdio.command, input=given, capture_output=True, text=True, timeout=LIMIT)


def test_over_stdio_a_restart_loses_what_was_not_flushed(stdio):
    run(stdio, call(STORE, content="lost"))
    assert stdio.memory.contents == ["lost"]
    run(stdio, call(STORE, content="kept"), call(FLUSH))
    run(stdio, call(STORE, content="kept, too"))
    done = run(stdio, call(STATS))
    assert "Total reflections: 2" in done.stdout
    assert [row.id[-1] for row in stdio.memory.rows] == ["2", "3"]


def test_over_stdio_the_first_line_is_no_message(stdio):
    lines = run(stdio, message("server/discover")).stdout.splitlines()
    assert lines[0] == NOISE
    assert json.loads(lines[1])["error"]["code"] == -32602


def test_over_stdio_faults_are_arguments(tmp_path):
    state = tmp_path / "state.json"
    gone = run(StdioBuddy(state, last_words="no database"))
    assert (gone.returncode, gone.stderr) == (1, "no database\n")
    assert '"tools": []' in run(StdioBuddy(state, has_tools=False), message("tools/list")).stdout
    locked = run(StdioBuddy(state, is_locked=True), call(STORE, content="x"))
    assert "Could not set lock on file" in locked.stdout
    silent = run(StdioBuddy(state, hangs_at=STORE), call(STORE, content="x"), message("ping"))
    assert silent.stdout.splitlines() == [NOISE]
    assert (load(state).contents, len(load(state).calls)) == ([], 2)
