"""A WebSocket to iTerm2 that speaks its protobuf messages: requests with answers, and notices beside them."""

from __future__ import annotations

import json
import math
import shlex
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

import attrs
import trio
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.trio.client import ClientConnection, unix_connect
from websockets.typing import Origin, Subprotocol

from mahavishnu_debug_monitor.windows.iterm2_cookie import APP_NAME, Cookie
from mahavishnu_debug_monitor.windows.window import WindowGone, WindowRefused

with warnings.catch_warnings():
    # the package's own client uses websockets.legacy; of the package we use the messages alone
    warnings.simplefilter("ignore", DeprecationWarning)
    from iterm2 import __version__ as _iterm2_version
    from iterm2 import api_pb2

PATIENCE = 10.0
"""Seconds that iTerm2 may take to let one in, and to answer a request."""
CLOSING = 2.0
"""Seconds in which a session is closed when its time is over."""
CLOSED, QUIT, SILENT = "its window was closed", "iTerm2 has quit", "iTerm2 does not answer"
_GOODBYE = 0.2


class NotLetIn(Exception):
    """iTerm2 does not take the cookie, or wants one."""


@attrs.frozen
class Row:
    """One row of a session's screen or of what has left it at the top."""

    text: str
    goes_on: bool
    """Whether the next row is a part of the same line."""


@attrs.frozen
class Page:
    """Some rows of a session, and the row that its cursor is in."""

    rows: Sequence[Row]
    cursor: int


@attrs.frozen
class Extent:
    """The rows of a session that can be read: those from ``first`` on, before ``end``.

    Rows are numbered from the start of the session, and keep their number when those before them are lost.
    """

    first: int
    end: int


@attrs.define(eq=False)
class _Reply:
    message: api_pb2.ServerOriginatedMessage | None = None
    has_come: trio.Event = attrs.field(factory=trio.Event)


async def connect(nursery: trio.Nursery, socket: Path, cookie: Cookie | None) -> Connection:
    """A connection that lives in the nursery until it is hung up. Raises NotLetIn and WindowRefused."""
    try:
        with trio.fail_after(PATIENCE):
            connection: Connection = await nursery.start(_keep_open, socket, cookie)
            return connection
    except trio.TooSlowError as error:
        reason = f"it has not let us in for {PATIENCE:g} s: look what it does, or start it anew"
        raise WindowRefused(reason) from error
    except InvalidStatus as error:
        raise _refusal(error.response.status_code) from error
    except (OSError, EOFError, WebSocketException) as error:
        advice = "start it, and turn on the Python API in its settings (General, Magic)"
        raise WindowRefused(f"it cannot be reached at {str(socket)!r} ({error}): {advice}") from error


def _refusal(status: int) -> Exception:
    if status == 401:
        return NotLetIn()
    if status == 406:
        return WindowRefused(f"it is too new for the package iterm2 {_iterm2_version}: install a newer one")
    return WindowRefused(f"it refuses us with HTTP status {status}: look into its settings (General, Magic)")


async def _keep_open(
    socket: Path, cookie: Cookie | None, *, task_status: trio.TaskStatus[Connection]
) -> None:
    """Hold a connection. It outlives a cancellation, as its window is still to be closed then."""
    headers = {"x-iterm2-library-version": f"python {_iterm2_version}", "x-iterm2-disable-auth-ui": "true"}
    headers |= {"x-iterm2-advisory-name": APP_NAME, **(cookie.headers if cookie else {})}
    talk = unix_connect(
        socket,
        "ws://localhost/",
        origin=Origin("ws://localhost/"),
        subprotocols=[Subprotocol("api.iterm2.com")],
        additional_headers=headers,
        compression=None,
        open_timeout=None,
        ping_interval=None,
        close_timeout=_GOODBYE,
        max_size=None,
    )
    with trio.CancelScope() as scope:
        async with talk as websocket, trio.open_nursery() as nursery:
            connection = Connection(websocket, nursery.cancel_scope)
            nursery.start_soon(connection.send_requests)
            nursery.start_soon(connection.take_answers)
            # a cancelled start() hands over no task but waits for its end, which a shielded one has not
            await trio.lowlevel.checkpoint_if_cancelled()
            scope.shield = True
            task_status.started(connection)


@attrs.define(eq=False)
class Connection:
    """What can be asked of iTerm2. All that is asynchronous raises WindowGone, and may be cancelled."""

    _websocket: ClientConnection
    _scope: trio.CancelScope
    _outbox: tuple[trio.MemorySendChannel[bytes], trio.MemoryReceiveChannel[bytes]] = attrs.field(
        factory=lambda: trio.open_memory_channel[bytes](math.inf)
    )
    _replies: dict[int, _Reply] = attrs.field(factory=dict)
    _numbers: count[int] = attrs.field(factory=lambda: count(1))
    _lost: str = ""
    """Why there will be no more answers."""
    ended: set[str] = attrs.field(factory=set)
    """The sessions that have ended since one was opened."""

    def hang_up(self) -> None:
        self._scope.cancel()

    @asynccontextmanager
    async def session(self, profile: str, command: Sequence[str]) -> AsyncIterator[str]:
        """A session that runs a command in a window of its own, by its id. Raises WindowRefused.

        It is closed at the end, also when it was asked for and has not come yet.
        """
        with _refusing():
            await self._follow_ends()
        reply = self._send(_create_request(profile, command))
        try:
            with _refusing():
                session = _session_of(await self._answer(reply), profile)
            yield session
        finally:
            with trio.move_on_after(CLOSING, shield=True), suppress(WindowGone, WindowRefused):
                await self._close(_session_of(await self._answer(reply), profile))

    async def extent(self, session: str) -> Extent:
        found = await self._property(session, "number_of_lines")
        first = found["overflow"]
        return Extent(first, first + found["history"] + found["grid"])

    async def columns(self, session: str) -> int:
        return (await self._property(session, "grid_size"))["width"]

    async def page(self, session: str, first: int, end: int) -> Page:
        """The rows from ``first`` on, before ``end``: those that are lost are not among them."""
        request = api_pb2.ClientOriginatedMessage()
        request.get_buffer_request.session = session
        request.get_buffer_request.include_styles = False
        wanted = request.get_buffer_request.line_range.windowed_coord_range
        wanted.coord_range.start.x, wanted.coord_range.start.y = 0, first
        wanted.coord_range.end.x, wanted.coord_range.end.y = 0, end
        wanted.columns.location, wanted.columns.length = 0, 0  # all of them
        message = await self._ask(request)
        answer = message.get_buffer_response
        if answer.status == answer.SESSION_NOT_FOUND:
            raise WindowGone(CLOSED)
        if answer.status != answer.OK or not message.HasField("get_buffer_response"):
            raise WindowGone(f"iTerm2 does not tell what it shows: {answer.Status.Name(answer.status)}")
        rows = [Row(row.text, row.continuation == row.CONTINUATION_SOFT_EOL) for row in answer.contents]
        return Page(rows, answer.cursor.y)

    async def send_requests(self) -> None:
        """In a task: a request that was begun goes out whole, whoever is cancelled meanwhile."""
        with suppress(ConnectionClosed):  # the other task tells
            async for data in self._outbox[1]:
                await self._websocket.send(data)

    async def take_answers(self) -> None:
        """In a task: give each answer to who waits for it."""
        try:
            while True:
                data = await self._websocket.recv(decode=False)
                self._take(api_pb2.ServerOriginatedMessage.FromString(data))
        except ConnectionClosed:
            self._lost = QUIT
        except DecodeError as error:
            self._lost = f"iTerm2 cannot be understood: {error}"
        for reply in self._replies.values():
            reply.has_come.set()

    def _take(self, message: api_pb2.ServerOriginatedMessage) -> None:
        if message.HasField("notification"):
            self.ended.add(message.notification.terminate_session_notification.session_id)
        elif reply := self._replies.pop(message.id, None):
            reply.message = message
            reply.has_come.set()

    async def _property(self, session: str, name: str) -> dict[str, int]:
        request = api_pb2.ClientOriginatedMessage()
        request.get_property_request.session_id = session
        request.get_property_request.name = name
        answer = (await self._ask(request)).get_property_response
        if answer.status == answer.INVALID_TARGET:
            raise WindowGone(CLOSED)
        if answer.status != answer.OK:
            raise WindowGone(f"iTerm2 does not tell its {name}: {answer.Status.Name(answer.status)}")
        found: dict[str, int] = json.loads(answer.json_value)
        return found

    async def _follow_ends(self) -> None:
        request = api_pb2.ClientOriginatedMessage()
        request.notification_request.session = "all"
        request.notification_request.subscribe = True
        request.notification_request.notification_type = api_pb2.NOTIFY_ON_TERMINATE_SESSION
        answer = (await self._ask(request)).notification_response
        if answer.status not in (answer.OK, answer.ALREADY_SUBSCRIBED):
            raise WindowGone(f"iTerm2 does not tell when it is closed: {answer.Status.Name(answer.status)}")

    async def _close(self, session: str) -> None:
        request = api_pb2.ClientOriginatedMessage()
        request.close_request.sessions.session_ids.append(session)
        request.close_request.force = True
        await self._ask(request)

    async def _ask(self, request: api_pb2.ClientOriginatedMessage) -> api_pb2.ServerOriginatedMessage:
        return await self._answer(self._send(request))

    def _send(self, request: api_pb2.ClientOriginatedMessage) -> _Reply:
        request.id = next(self._numbers)
        reply = _Reply()
        if self._lost:
            reply.has_come.set()
        else:
            self._replies[request.id] = reply
            self._outbox[0].send_nowait(request.SerializeToString())
        return reply

    async def _answer(self, reply: _Reply) -> api_pb2.ServerOriginatedMessage:
        with trio.move_on_after(PATIENCE):
            await reply.has_come.wait()
        if reply.message is None:
            raise WindowGone(self._lost or SILENT)
        if reply.message.HasField("error"):
            raise WindowGone(f"iTerm2 does not take a request: {reply.message.error}")
        return reply.message


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except WindowGone as gone:
        raise WindowRefused(f"no window was opened: {gone}") from gone


def _create_request(profile: str, command: Sequence[str]) -> api_pb2.ClientOriginatedMessage:
    request = api_pb2.ClientOriginatedMessage()
    request.create_tab_request.select_tab = True
    if profile:
        request.create_tab_request.profile_name = profile
    for key, value in (("Custom Command", "Yes"), ("Command", shlex.join(command))):
        request.create_tab_request.custom_profile_properties.add(key=key, json_value=json.dumps(value))
    return request


def _session_of(message: api_pb2.ServerOriginatedMessage, profile: str) -> str:
    answer = message.create_tab_response
    if answer.status == answer.INVALID_PROFILE_NAME:
        raise WindowRefused(
            f"it has no profile {profile!r}: name another one in the options of the worker type"
        )
    if answer.status != answer.OK or not answer.session_id:
        raise WindowRefused(f"it opened no window: {answer.Status.Name(answer.status)}")
    return answer.session_id
