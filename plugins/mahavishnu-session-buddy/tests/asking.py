"""What the tests of the tests' own Session-Buddy share: ways to ask it, by the real client or by hand."""

from __future__ import annotations

import http.client
import json
from contextlib import closing

import httpx2
import trio
from mcp import Client, MCPError

STORE, FIND, SEARCH = "store_reflection", "quick_search", "fingerprint_search"
FLUSH, STATS = "reset_reflection_database", "reflection_stats"

TROUBLE = (MCPError, httpx2.HTTPError, BaseExceptionGroup)
"""What comes out of the real client where a server is of no use."""
LIMIT = 20
"""Seconds for what takes a fraction of one."""


async def ask(server, tool, /, **given):
    """Call one tool on a connection of its own."""
    with trio.fail_after(LIMIT):
        async with Client(server) as client:
            return await client.call_tool(tool, given, read_timeout_seconds=LIMIT)


async def say(server, tool, /, **given):
    """The text that a tool answers."""
    return text_of(await ask(server, tool, **given))


def text_of(result):
    return result.content[0].text


def tell(memory, tool, /, **given):
    """The text that a tool of a memory answers."""
    return memory.call(tool, given)["content"][0]["text"]


def message(method, **params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def call(tool, **given):
    return message("tools/call", name=tool, arguments=given)


def post(buddy, message, *, path="/mcp", session=None, token=None):
    """Status, headers and body of one request, as they are on the wire."""
    with closing(http.client.HTTPConnection("127.0.0.1", buddy.port, timeout=LIMIT)) as connection:
        headers = {"mcp-session-id": session, "authorization": token}
        body = message if isinstance(message, bytes) else json.dumps(message)
        connection.request("POST", path, body, {k: v for k, v in headers.items() if v is not None})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
