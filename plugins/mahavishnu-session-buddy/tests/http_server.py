"""The wire of the HTTP buddy: requests, sessions, event streams, and what can be wrong with them."""

from __future__ import annotations

import json
import secrets
import select
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias

from .faults import EVERYTHING, Drop, Fault, Garbage, Silence, Status
from .rpc import Message, place_of, record, reply

if TYPE_CHECKING:
    from .buddy import HttpBuddy

LONGEST_BODY = 4 << 20
"""Bytes of a request; more is refused with 413."""

_Socket: TypeAlias = socket.socket | tuple[bytes, socket.socket]


class BuddyServer(ThreadingHTTPServer):
    """One life of a buddy: what it holds is lost when it stops."""

    daemon_threads = False  # so that stopping waits for every one of them
    request_queue_size = 64

    def __init__(self, buddy: HttpBuddy) -> None:
        super().__init__(("127.0.0.1", buddy.port), _Connection)
        self.buddy = buddy
        self.gate = Gate()
        self.sessions: set[str] = set()
        self._open: set[_Socket] = set()
        self._lock = threading.Lock()

    def stop(self, how: int) -> None:
        """End the loop, shut every connection down this way, and return when no thread is left."""
        self.gate.close()
        self.shutdown()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the client may have closed it meanwhile
                    if isinstance(connection, socket.socket):
                        connection.shutdown(how)
        self.server_close()
        self.gate.clear()

    def process_request(self, request: _Socket, client_address: object) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Socket) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: _Socket, client_address: object) -> None:
        """Clients may leave at any time."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Gate:
    """Where silent requests wait: for a release, for the end of the server, or until their client leaves."""

    def __init__(self) -> None:
        self._is_closed = False
        self._lock = threading.Lock()
        self._watched, self._held = socket.socketpair()
        self._old: list[socket.socket] = []

    def ticket(self) -> socket.socket:
        """What the next release lets go on."""
        with self._lock:
            return self._watched

    def wait(self, ticket: socket.socket, connection: socket.socket) -> bool:
        """Whether a request is to go on after all."""
        select.select([connection, ticket], [], [])  # readable is what has come to its end
        return not self._is_closed and not _is_left(connection)

    def release(self) -> None:
        """Let all go on that wait now."""
        with self._lock:
            self._held.close()
            self._old.append(self._watched)
            self._watched, self._held = socket.socketpair()

    def close(self) -> None:
        """Let nobody wait any more, and nobody go on."""
        self._is_closed = True
        with self._lock:
            self._held.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Give the sockets back, when there is nobody who might wait."""
        for each in (self._watched, self._held, *self._old):
            each.close()


def _is_left(connection: socket.socket) -> bool:
    """Whether the client has closed its side."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class _Dropped(ConnectionError):
    """The connection is to break here."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: BuddyServer
    _session: str | None = None

    def do_GET(self) -> None:
        """Offer no stream of its own; the real server has one, on which nothing comes."""
        if self.path == "/health":
            self._send(200, {"status": "ok", "service": "session-buddy", "version": "0.23.0"})
        elif self._is_let_in(self.server.buddy.faults.lasting(EVERYTHING)):
            self._send(405, "Method Not Allowed", {"allow": "POST, DELETE"})

    def do_DELETE(self) -> None:
        """End a session."""
        if self._is_let_in(self.server.buddy.faults.lasting(EVERYTHING)) and self._has_session():
            self.server.sessions.discard(str(self._session))
            self._send(200, "")

    def do_POST(self) -> None:
        """Take a message."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if len(body) > LONGEST_BODY:
            self._send(413, "Request body too large")
            return
        buddy = self.server.buddy
        with buddy.changed:
            fault = buddy.faults.take(EVERYTHING)
        if not self._is_let_in(fault):
            return
        try:
            message = json.loads(body)
        except ValueError as wrong:
            self._refuse(400, f"Parse error: {wrong}", -32700)
        else:
            self._take(message)

    def log_message(self, format: str, *args: object) -> None:
        """Silence: what was asked for is in the buddy."""

    def _is_let_in(self, fault: Fault | None) -> bool:
        """Whether a request is to be looked at; where it is not, it has been answered."""
        buddy = self.server.buddy
        token = self.headers["authorization"]
        with buddy.changed:
            buddy.tokens.append(token)
            ticket = self.server.gate.ticket()  # whoever hears of the request may release it at once
            buddy.changed.notify_all()
        if not self._passes(fault, ticket):
            return False
        if isinstance(fault, Garbage):
            self._answer(fault.text)
        elif self.path == "/mcp/":
            self._send(307, "", {"location": buddy.url})
        elif self.path != "/mcp":
            self._send(404, "Not Found")
        elif buddy.token is not None and token != f"Bearer {buddy.token}":
            self._send(401, {"error": "invalid_token"}, {"www-authenticate": 'Bearer error="invalid_token"'})
        else:
            return True
        return False

    def _has_session(self) -> bool:
        """Whether a request belongs to a session; where it does not, it has been answered."""
        self._session = self.headers["mcp-session-id"]
        if self._session is None:
            self._session = secrets.token_hex(16)  # the real server names one, and does not know it later
            self._refuse(400, "Bad Request: Missing session ID", -32600)
        elif self._session not in self.server.sessions:
            self._session = None
            self._refuse(404, "Session not found", -32600)
        else:
            return True
        return False

    def _take(self, message: Message) -> None:
        buddy = self.server.buddy
        place = place_of(message)
        buddy.methods.append(str(message.get("method")))
        if place == "initialize":
            self._session = secrets.token_hex(16)
            self.server.sessions.add(self._session)
        elif not self._has_session():
            return
        with buddy.changed:
            record(buddy.memory, message)
            fault = buddy.faults.take(place)
            ticket = self.server.gate.ticket()
            buddy.changed.notify_all()
        has_begun = buddy.is_streaming and _is_in_stream(fault)
        if has_begun:
            self._begin_stream()
        if not self._passes(fault, ticket):
            return
        with buddy.changed:
            answer = reply(buddy.memory, message, fault)
        if isinstance(fault, Drop):
            raise _Dropped
        if answer is None:
            self._send(202, "")
        else:
            text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
            self._answer(fault.text if isinstance(fault, Garbage) else text, has_begun=has_begun)

    def _passes(self, fault: Fault | None, ticket: socket.socket) -> bool:
        """Whether a request comes through a fault; where it does not, it has been answered. May raise."""
        match fault:
            case Silence():
                if not self.server.gate.wait(ticket, self.connection):
                    raise _Dropped
            case Status(code, body):
                self._send(code, body)
                return False
            case Drop(after=False):
                raise _Dropped
        return True

    def _refuse(self, status: int, text: str, code: int) -> None:
        error = {"code": code, "message": text}
        self._send(status, {"jsonrpc": "2.0", "id": "server-error", "error": error})

    def _answer(self, text: str, *, has_begun: bool = False) -> None:
        if not self.server.buddy.is_streaming:
            self._send(200, text, {"content-type": "application/json"})
            return
        if not has_begun:
            self._begin_stream()
        event = f"event: message\r\ndata: {text}\r\n\r\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))

    def _begin_stream(self) -> None:
        self.send_response(200)
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache, no-transform"}
        self._headers({**headers, "transfer-encoding": "chunked"})

    def _send(
        self, status: int, content: str | Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        kind = "text/plain; charset=utf-8" if isinstance(content, str) else "application/json"
        self._headers({"content-type": kind, "content-length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _headers(self, headers: Mapping[str, str]) -> None:
        if self._session is not None:
            headers = {**headers, "mcp-session-id": self._session}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _is_in_stream(fault: Fault | None) -> bool:
    """Whether the head of the answer comes before the fault, as where a tool of the real server hangs."""
    return isinstance(fault, Silence) or (isinstance(fault, Drop) and fault.in_stream)
