"""A scripted iTerm2: its real protocol on a Unix socket, sessions with real processes, and faults."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import tempfile
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import attrs
import trio
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.trio.server import ServerConnection, serve

from mahavishnu_debug_monitor.windows.iterm2_connection import api_pb2


@attrs.define
class Screen:
    """What a terminal shows: rows that are wrapped at its width, a limited scrollback, and a cursor."""

    width: int = 80
    height: int = 5
    scrollback: int = 1000
    padding: str = ""
    """What cells are filled with that nothing was printed in, in a row that is not wrapped."""
    rows: list[tuple[str, bool]] = attrs.field(factory=lambda: [("", False)])
    """What is in each, and whether its line goes on in the next. The cursor is in the last."""
    overflow: int = 0

    def feed(self, text: str) -> None:
        for character in text.replace("\r", ""):
            row, _ = self.rows[-1]
            if character == "\n":
                self.rows.append(("", False))
            elif len(row) == self.width:
                self.rows[-1:] = [(row, True), (character, False)]
            else:
                self.rows[-1] = (row + character, False)
        self._drop()

    def resize(self, width: int) -> None:
        text = "".join(row + ("" if goes_on else "\n") for row, goes_on in self.rows)
        self.width, self.rows = width, [("", False)]
        self.feed(text.removesuffix("\n"))

    def clear(self) -> None:
        """As the person at it does, with everything but the row of the cursor."""
        self.rows, self.overflow = self.rows[-1:], 0

    @property
    def history(self) -> int:
        return max(len(self.rows) - self.height, 0)

    def contents(self, start: int, end: int) -> Iterator[api_pb2.LineContents]:
        blank = [("", False)] * max(self.height - len(self.rows), 0)
        shown = [*self.rows, *blank]
        for text, goes_on in shown[max(start - self.overflow, 0) : max(end - self.overflow, 0)]:
            full = text if goes_on or not self.padding else text.ljust(self.width, self.padding)
            kind = api_pb2.LineContents
            line = kind(
                text=full,
                continuation=kind.CONTINUATION_SOFT_EOL if goes_on else kind.CONTINUATION_HARD_EOL,
            )
            if full:
                line.code_points_per_cell.add(num_code_points=1, repeats=len(full))
            yield line

    def _drop(self) -> None:
        if (excess := self.history - self.scrollback) > 0:
            del self.rows[:excess]
            self.overflow += excess


@attrs.define(eq=False)
class Session:
    """A window of its own, in which a process runs."""

    id: str
    profile: str
    screen: Screen
    process: trio.Process
    master: int
    is_open: bool = True

    async def read(self) -> None:
        """What the process prints is shown, until its window is closed."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # its end, on a terminal of Linux
            async with trio.lowlevel.FdStream(self.master) as stream:
                async for data in stream:
                    self.screen.feed(data.decode())

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> None:
        self.is_open = False
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@attrs.define(eq=False)
class ScriptedIterm2:
    """The application. What it does wrong is set before or meanwhile."""

    home: Path
    nursery: trio.Nursery
    screen: Screen
    """What a new window is like."""
    profiles: set[str] = attrs.field(factory=lambda: {"Default"})
    cookies: set[str] = attrs.field(factory=lambda: {"let-me-in"})
    """What lets in, once each."""
    is_open_to_all: bool = False
    refuses_with: int = 0
    ignores: set[str] = attrs.field(factory=set)
    """Requests that are never answered."""
    complains: set[str] = attrs.field(factory=set)
    """Requests that are said to be malformed."""
    garbles: set[str] = attrs.field(factory=set)
    """Requests that are answered with no message."""
    closes_ended: bool = False
    """Whether a window is closed when its process ends, which is for its profile to say."""
    waits: trio.Event | None = None
    """What comes before a new window is told of."""
    before_answer: Callable[[], None] | None = None
    requests: list[api_pb2.ClientOriginatedMessage] = attrs.field(factory=list)
    headers: list[Headers] = attrs.field(factory=list)
    faults: list[Exception] = attrs.field(factory=list)
    """What is wrong with the script itself, or with what it was asked."""
    sessions: dict[str, Session] = attrs.field(factory=dict)
    _connections: set[ServerConnection] = attrs.field(factory=set)
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "ITERM2_COOKIE": "let-me-in", "PATH": os.environ["PATH"]}

    @property
    def only(self) -> Session:
        [session] = self.open_sessions
        return session

    @property
    def open_sessions(self) -> list[Session]:
        return [session for session in self.sessions.values() if session.is_open]

    def asked(self, name: str) -> list[api_pb2.ClientOriginatedMessage]:
        return [request for request in self.requests if request.WhichOneof("submessage") == name]

    async def close_by_hand(self, session: Session, *, is_final: bool = True) -> None:
        """As the person at it does, who can take it back for some seconds: its rows are there until then."""
        if is_final:
            session.end()
        message = api_pb2.ServerOriginatedMessage()
        message.notification.terminate_session_notification.session_id = session.id
        for connection in self._connections:
            await connection.send(message.SerializeToString())

    async def quit(self) -> None:
        """The whole application: it says no goodbye."""
        for connection in self._connections:
            await trio.aclose_forcefully(connection.stream)

    def let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        self.headers.append(request.headers)
        if self.refuses_with:
            return connection.respond(self.refuses_with, "no")
        cookie = request.headers.get("x-iterm2-cookie", "")
        if not self.is_open_to_all and cookie not in self.cookies:
            return connection.respond(401, "no")
        self.cookies.discard(cookie)
        return None

    def say_version(self, connection: ServerConnection, request: Request, response: Response) -> None:
        response.headers["X-iTerm2-Protocol-Version"] = "1.19"

    async def serve(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        try:
            while True:
                data = await connection.recv(decode=False)
                request = api_pb2.ClientOriginatedMessage.FromString(data)
                self.requests.append(request)
                name = request.WhichOneof("submessage")
                if name in self.ignores:
                    continue
                if self.before_answer is not None:
                    self.before_answer()
                answer = api_pb2.ServerOriginatedMessage(id=request.id)
                await getattr(self, f"_on_{name}")(getattr(request, name), answer)
                if name in self.complains:
                    answer = api_pb2.ServerOriginatedMessage(id=request.id, error="what is this")
                await connection.send(b"\xff" if name in self.garbles else answer.SerializeToString())
        except ConnectionClosed:
            pass
        except Exception as error:
            self.faults.append(error)
        finally:
            self._connections.discard(connection)

    async def _on_notification_request(self, request, answer) -> None:
        answer.notification_response.status = answer.notification_response.OK

    async def _on_focus_request(self, request, answer) -> None:
        answer.focus_response.SetInParent()

    async def _on_get_broadcast_domains_request(self, request, answer) -> None:
        answer.get_broadcast_domains_response.SetInParent()

    async def _on_list_sessions_request(self, request, answer) -> None:
        answer.list_sessions_response.SetInParent()
        for session in self.open_sessions:
            window = answer.list_sessions_response.windows.add(window_id=f"w-{session.id}", number=0)
            window.selected_tab_id = session.id[1:]
            tab = window.tabs.add(tab_id=session.id[1:], active_session_id=session.id)
            link = tab.root.links.add()
            link.session.unique_identifier = session.id
            link.session.grid_size.width = session.screen.width
            link.session.grid_size.height = session.screen.height
            link.session.frame.SetInParent()

    async def _on_create_tab_request(self, request, answer) -> None:
        response = answer.create_tab_response
        if request.HasField("profile_name") and request.profile_name not in self.profiles:
            response.status = response.INVALID_PROFILE_NAME
            return
        properties = {item.key: json.loads(item.json_value) for item in request.custom_profile_properties}
        assert properties["Custom Command"] == "Yes"
        session = await self._start(request.profile_name, shlex.split(properties["Command"]))
        if self.waits is not None:
            await self.waits.wait()
        response.status = response.OK
        response.window_id, response.tab_id, response.session_id = f"w-{session.id}", 1, session.id

    async def _on_get_buffer_request(self, request, answer) -> None:
        response = answer.get_buffer_response
        if (session := self._session(request.session)) is None:
            response.status = response.SESSION_NOT_FOUND
            return
        screen, wanted = session.screen, request.line_range
        start, end = screen.overflow + screen.history, screen.overflow + screen.history + screen.height
        if wanted.HasField("windowed_coord_range"):
            span = wanted.windowed_coord_range.coord_range
            assert span.start.x == span.end.x == 0
            assert span.start.y <= span.end.y
            start, end = span.start.y, span.end.y
            response.windowed_coord_range.CopyFrom(wanted.windowed_coord_range)
        response.status = response.OK
        response.contents.extend(screen.contents(start, end))
        response.cursor.x = len(screen.rows[-1][0])
        response.cursor.y = screen.overflow + len(screen.rows) - 1

    async def _on_get_property_request(self, request, answer) -> None:
        response = answer.get_property_response
        if (session := self._session(request.session_id)) is None:
            response.status = response.INVALID_TARGET
            return
        screen = session.screen
        top = screen.overflow + screen.history
        values = {
            "grid_size": {"width": screen.width, "height": screen.height},
            "number_of_lines": {
                "overflow": screen.overflow,
                "grid": screen.height,
                "history": screen.history,
                "first_visible": top,
            },
        }
        response.status = response.OK
        response.json_value = json.dumps(values[request.name])

    async def _on_close_request(self, request, answer) -> None:
        response = answer.close_response
        assert request.force
        for name in request.sessions.session_ids:
            if (session := self._session(name)) is None:
                response.statuses.append(response.NOT_FOUND)
            else:
                response.statuses.append(response.OK)
                await self.close_by_hand(session)

    def _session(self, name: str) -> Session | None:
        session = self.sessions.get(name)
        return session if session is not None and session.is_open else None

    async def _start(self, profile: str, command: list[str]) -> Session:
        master, slave = os.openpty()
        *flags, speed_in, speed_out, characters = termios.tcgetattr(slave)
        flags[3] &= ~termios.ECHO  # what is typed is for the process, and in no test a part of what is shown
        termios.tcsetattr(slave, termios.TCSANOW, [*flags, speed_in, speed_out, characters])
        try:
            process = await trio.lowlevel.open_process(
                command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
            )
        finally:
            os.close(slave)
        session = Session(f"s{next(self._numbers)}", profile, attrs.evolve(self.screen), process, master)
        session.screen.rows = [("", False)]
        self.sessions[session.id] = session
        self.nursery.start_soon(self._show, session)
        return session

    async def _show(self, session: Session) -> None:
        await session.read()
        await session.process.wait()
        if self.closes_ended and session.is_open:
            await self.close_by_hand(session)


@asynccontextmanager
async def scripted_iterm2(**screen: object) -> AsyncIterator[ScriptedIterm2]:
    """An iTerm2 below a home of its own; the path of a socket has to be short."""
    with short_home() as home:
        async with trio.open_nursery() as nursery, listening(home) as listener:
            iterm2 = ScriptedIterm2(home, nursery, Screen(**screen))
            options = {"process_request": iterm2.let_in, "process_response": iterm2.say_version}
            await nursery.start(
                partial(serve, iterm2.serve, listeners=[listener], subprotocols=["api.iterm2.com"], **options)
            )
            try:
                yield iterm2
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    for session in iterm2.sessions.values():
                        session.end()
                        await session.process.wait()
    assert not iterm2.faults


@contextmanager
def short_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="it-", dir="/tmp"))
    (home / "Library/Application Support/iTerm2/private").mkdir(parents=True)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@asynccontextmanager
async def listening(home: Path) -> AsyncIterator[trio.SocketListener]:
    """The socket of an iTerm2, at which nobody answers yet."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.bind(str(home / "Library/Application Support/iTerm2/private/socket"))
        raw.listen()
        yield trio.SocketListener(trio.socket.from_stdlib_socket(raw))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to be so in the scripted application."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # a screen tells of no change
            await trio.sleep(0.01)
