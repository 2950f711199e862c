"""The scripted iTerm2 is true: the client that iTerm2 publishes gets along with it, and asks as ours does."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from types import MappingProxyType

import attrs
import trio

from mahavishnu_debug_monitor.windows.iterm2 import open_iterm2
from mahavishnu_debug_monitor.windows.iterm2_connection import api_pb2

from .scripted_iterm2 import ScriptedIterm2, scripted_iterm2, until

DEADLINE = 30
PROFILE = "Night's"
ROWS = ["one", "x" * 30, "x" * 30, "x", "", "sp ace  "]
"""What ``COMMAND`` prints in a window of 30 columns."""
COMMAND = ("printf", "%s\\n", "one", "x" * 61, "", "sp ace  ")

PROGRAM = """
import asyncio, json, sys
import iterm2
from iterm2 import rpc
from iterm2.util import CoordRange, Point, WindowedCoordRange

async def main(profile, command, rows):
    connection = await iterm2.Connection.async_create()
    await iterm2.async_get_app(connection)
    try:
        await iterm2.Window.async_create(connection, profile="no such")
    except iterm2.CreateWindowException as error:
        refusal = str(error)
    window = await iterm2.Window.async_create(connection, profile=profile, command=command)
    session = window.current_tab.current_session
    while (await session.async_get_screen_contents()).cursor_coord.y < rows:
        await asyncio.sleep(0.01)
    info = await session.async_get_line_info()
    first, count = info.overflow, info.scrollback_buffer_height + info.mutable_area_height
    lines = await session.async_get_contents(first, count)
    span = WindowedCoordRange(CoordRange(Point(0, first), Point(0, first + count)))
    answer = await rpc.async_get_screen_contents(connection, session.session_id, span)
    screen = await session.async_get_screen_contents()
    cursor = iterm2.screen.ScreenContents(answer.get_buffer_response).cursor_coord
    await session.async_close(force=True)
    try:
        await session.async_get_contents(first, count)
    except iterm2.RPCException as error:
        gone = str(error)
    return {
        "refusal": refusal,
        "gone": gone,
        "version": connection.iterm2_protocol_version,
        "overflow": first,
        "lines": [[line.string, line.hard_eol] for line in lines],
        "screen": [screen.line(index).string for index in range(screen.number_of_lines)],
        "cursor": [cursor.x, cursor.y],
    }

print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
"""


@attrs.frozen
class Seen:
    """What the real client made of it, and what it asked for."""

    requests: list[api_pb2.ClientOriginatedMessage]
    told: dict[str, object]


async def run_real_client(
    iterm2: ScriptedIterm2, command: str, rows: int, given: Mapping[str, str] = MappingProxyType({})
) -> Seen:
    """Its process is its own: it brings an event loop, and warnings of what it is built on."""
    with trio.fail_after(DEADLINE):
        done = await trio.run_process(
            [sys.executable, "-c", PROGRAM, PROFILE, command, str(rows)],
            env=iterm2.environ | given,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    requests, iterm2.requests = iterm2.requests, []
    return Seen(requests, json.loads(done.stdout))


async def test_the_real_client_opens_a_window_reads_it_and_closes_it():
    async with scripted_iterm2(width=30, height=4, scrollback=100) as iterm2:
        iterm2.profiles.add(PROFILE)
        seen = await run_real_client(iterm2, shlex.join(COMMAND), len(ROWS))
        [session] = iterm2.sessions.values()
        assert session.profile == PROFILE
        assert session.process.args == list(COMMAND)
        assert seen.told == {
            "refusal": "INVALID_PROFILE_NAME",
            "gone": "SESSION_NOT_FOUND",
            "version": [1, 19],
            "overflow": 0,
            "lines": [[row, index not in (1, 2)] for index, row in enumerate([*ROWS, ""])],
            "screen": [*ROWS[-3:], ""],
            "cursor": [0, len(ROWS)],
        }
        assert not iterm2.open_sessions


async def test_the_real_client_reads_what_is_left_of_a_scrollback_that_has_overflowed():
    async with scripted_iterm2(width=30, height=4, scrollback=10) as iterm2:
        iterm2.profiles.add(PROFILE)
        seen = await run_real_client(iterm2, "seq 50", 50)
        assert seen.told["overflow"] == 51 - 14
        assert seen.told["lines"] == [*([str(number), True] for number in range(38, 51)), ["", True]]


async def test_ours_asks_what_the_real_client_asks():
    """The messages are the same, but for the numbers of requests and sessions."""
    async with scripted_iterm2(width=30, height=4, scrollback=100) as iterm2:
        iterm2.profiles.add(PROFILE)
        iterm2.cookies.add("another")
        real = await run_real_client(iterm2, shlex.join(COMMAND), len(ROWS))
        async with open_iterm2(PROFILE, COMMAND, iterm2.environ | {"ITERM2_COOKIE": "another"}) as window:
            await until(lambda: len(iterm2.only.screen.rows) > len(ROWS))
            assert (await window.new_lines()).lines == ["one", "x" * 61, "", "sp ace"]
        ours = [as_any(request) for request in iterm2.requests]
        theirs = [as_any(request) for request in real.requests]
        kinds = {request.WhichOneof("submessage") for request in ours}
        assert kinds == {
            "notification_request",
            "create_tab_request",
            "get_buffer_request",
            "get_property_request",
            "close_request",
        }
        unlike = [request for request in ours if request not in theirs]
        # which their client has no call for, but asks in no other way than for "number_of_lines"
        assert {request.get_property_request.name for request in unlike} == {"grid_size"}


def as_any(request: api_pb2.ClientOriginatedMessage) -> api_pb2.ClientOriginatedMessage:
    """The request, without what tells it apart from another that asks the same."""
    bare = api_pb2.ClientOriginatedMessage()
    bare.CopyFrom(request)
    bare.id = 0
    match request.WhichOneof("submessage"):
        case "get_buffer_request":
            bare.get_buffer_request.session = ""
        case "get_property_request":
            bare.get_property_request.session_id = ""
        case "close_request":
            bare.close_request.sessions.session_ids[:] = [""]
    return bare


async def test_the_headers_by_which_ours_is_let_in_are_those_of_the_real_client():
    async with scripted_iterm2() as iterm2:
        iterm2.profiles.add(PROFILE)
        iterm2.cookies.add("another")
        given = {"ITERM2_KEY": "its-key"}
        await run_real_client(iterm2, "seq 5", 5, given)
        async with open_iterm2("", COMMAND, iterm2.environ | given | {"ITERM2_COOKIE": "another"}):
            pass
        real, ours = iterm2.headers
        said = {"x-iterm2-cookie", "x-iterm2-advisory-name"}  # what is each one's own
        # compression, which iTerm2 does not have, and the name of the WebSocket library
        left_out = {"user-agent", "sec-websocket-key", "sec-websocket-extensions"}
        for name in real.keys() - left_out:
            assert name in ours
            assert ours[name] == real[name] or name in said
        assert not ours.keys() - real.keys()
