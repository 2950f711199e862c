"""HTTP/1.1 on one connection, for an ASGI application: no client is waited for without end, none is fatal.

On h11, and why on no server of others: docs/decisions/0018-http-on-h11.md.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs
import h11
import trio

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

IDLE: Final = 20.0
"""Seconds in which a request's head must have come, from the begin or the last response on."""
_TAKING: Final = 30.0
"""Seconds in which a client must have taken what we send in one go."""
_PARTING: Final = 2.0
_LONGEST_HEAD: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
_log = logging.getLogger(__name__)


def _new_state() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)


@attrs.define(eq=False)
class Connection:
    """A client's requests one after the other, each with its response."""

    _stream: trio.abc.HalfCloseableStream
    _app: ASGIApp
    _client: tuple[str, int] | None = None
    _server: tuple[str, int] | None = None
    waits_since: float = attrs.field(init=False, default=math.inf)
    """Since when no request is under way here; for ever from now while one is."""
    _http: h11.Connection = attrs.field(init=False, factory=_new_state)
    _reading: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _is_head: bool = attrs.field(init=False, default=False)

    async def serve(self) -> None:
        """Return when the connection is over, and closed."""
        async with self._stream:
            with suppress(trio.TooSlowError, *_GONE):
                while await self._exchange():
                    self._http.start_next_cycle()
                await self._part()

    async def _exchange(self) -> bool:
        """One request and its response; whether another one may follow."""
        self.waits_since = trio.current_time()
        try:
            with trio.fail_after(IDLE):
                request = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        if not isinstance(request, h11.Request):  # the client has left
            return False
        if request.http_version > b"1.1":
            await self._refuse(505)
            return False
        self.waits_since = math.inf
        self._is_head = request.method == b"HEAD"
        await self._respond(self._scope(request))
        return self._is_through()

    def _scope(self, request: h11.Request) -> Scope:
        path, _, query = bytes(request.target).partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "root_path": "",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
            "client": self._client,
            "server": self._server,
        }

    async def _respond(self, scope: Scope) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except* Exception:  # noqa: BLE001  # the SDK's or a plugin's: no end of the other connections
            _log.exception("a request failed")
        if self._http.our_state is h11.SEND_RESPONSE:
            await self._refuse(400 if self._http.their_state is h11.ERROR else 500)

    def _is_through(self) -> bool:
        """Whether both sides are, with what there is left of the request's body read."""
        with suppress(h11.RemoteProtocolError):
            while self._http.their_state is h11.SEND_BODY and self._http.next_event() is not h11.NEED_DATA:
                pass
        return self._http.our_state is self._http.their_state is h11.DONE

    async def _receive(self) -> Message:
        try:
            async with self._reading:
                if self._http.their_state is h11.SEND_BODY:
                    event = await self._next_event()
                    data = bytes(event.data) if isinstance(event, h11.Data) else b""
                    return {"type": "http.request", "body": data, "more_body": isinstance(event, h11.Data)}
                await self._left()
        except (h11.RemoteProtocolError, *_GONE):
            pass
        return {"type": "http.disconnect"}

    async def _left(self) -> None:
        """Return when the client has closed its side; what it asks meanwhile is kept for its turn."""
        while data := await self._stream.receive_some(_CHUNK):
            self._http.receive_data(bytes(data))
            if len(self._http.trailing_data[0]) > _LONGEST_HEAD:
                await trio.sleep_forever()

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(_CHUNK)))

    async def _send(self, message: Message) -> None:
        """Nothing comes of it where the client has gone."""
        with suppress(*_GONE):
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"date", formatdate(usegmt=True).encode())]
                await self._write(h11.Response(status_code=message["status"], headers=headers))
                return
            if (body := message.get("body", b"")) and not self._is_head:
                await self._write(h11.Data(data=body))
            if not message.get("more_body", False):
                await self._write(h11.EndOfMessage())

    async def _refuse(self, status: int) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await self._write(h11.Response(status_code=status, headers=headers))
        await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        with trio.move_on_after(_TAKING):
            await self._stream.send_all(data or b"")
            return
        await trio.aclose_forcefully(self._stream)  # whoever waits for the client hears of it
        raise trio.ClosedResourceError

    async def _part(self) -> None:
        """Let the client read our last words: a close with bytes unread is a reset, which overtakes them."""
        self.waits_since = trio.current_time()
        with trio.move_on_after(_PARTING):
            await self._stream.send_eof()
            while await self._stream.receive_some(_CHUNK):
                pass
