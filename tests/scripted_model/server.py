"""The scripted model: an HTTP server that answers the vendors' protocols from scripts.

The script is chosen by the path, ``/s/<script>/...``. What follows a ``+`` in it (``hello+worker-3``) keeps
hit counters and records apart, so that one server serves many runs at once.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeAlias

import attrs
import cattrs

from tests.scripted_model import (  # scripts register themselves
    anthropic,
    gemini,
    openai,
    responses,
    scripts,  # noqa: F401
)
from tests.scripted_model.conversation import Conversation, Failure, Fault, Frame, Reply, Text
from tests.scripted_model.registry import SCRIPTS

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_Socket: TypeAlias = socket.socket | tuple[bytes, socket.socket]
_Address: TypeAlias = object


@attrs.frozen
class Request:
    """One call that arrived, for assertions."""

    key: str
    """The script and what isolates it: ``hello+worker-3``."""
    path: str
    has_credentials: bool
    model: str = ""
    prompt: str = ""
    """What a person said last."""
    messages: int = 0
    streaming: bool = False
    aside: bool = False
    """Whether it is a question of the program's own beside the prompt's, which no script sees."""


class ModelServer(ThreadingHTTPServer):
    """Listens on loopback; ``requests`` holds every call so far, in order of arrival."""

    daemon_threads = False  # so that closing waits for every one of them
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._hits: Counter[str] = Counter()
        self._open: set[_Socket] = set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_port

    def url(self, key: str) -> str:
        """Where a client finds this script; OpenAI's clients want ``/v1`` behind it."""
        return f"http://127.0.0.1:{self.port}/s/{key}"

    def calls(self, key: str) -> list[Request]:
        """The model calls that the script of this key has answered."""
        with self._lock:
            return [r for r in self.requests if r.key == key and _wire(r.path) and not r.aside]

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def hit(self, key: str) -> int:
        """Counts one model call under this key; 1 for the first."""
        with self._lock:
            self._hits[key] += 1
            return self._hits[key]

    def stop(self) -> None:
        """Ends the loop and every connection; returns when no thread is left."""
        self.stopping.set()
        self.shutdown()
        with self._lock:
            left = [connection for connection in self._open if isinstance(connection, socket.socket)]
        for connection in left:
            with suppress(OSError):  # the client may have closed it meanwhile
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: _Socket, client_address: _Address) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Socket) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: _Socket, client_address: _Address) -> None:
        """Clients may leave at any time: ending them is what the tests do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(port: int = 0) -> Iterator[ModelServer]:
    """A running server; 0 lets the system choose the port."""
    server = ModelServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@attrs.frozen
class _Wire:
    """One vendor's protocol."""

    read: Callable[[bytes], Conversation]
    message: Callable[[Conversation, Reply, str], Mapping[str, JSON]]
    stream: Callable[[Conversation, Reply, str], Iterator[Frame]]
    error: Callable[[Failure, str], Mapping[str, JSON]]


_WIRES = {
    "/v1/messages": _Wire(anthropic.read, anthropic.message, anthropic.stream, anthropic.error),
    "/v1/chat/completions": _Wire(openai.read, openai.message, openai.stream, openai.error),
    "/v1/responses": _Wire(responses.read, responses.message, responses.stream, responses.error),
}
_MODELS: JSON = {"object": "list", "data": [{"id": "scripted", "object": "model"}]}


def _wire(path: str) -> _Wire | None:
    """The protocol that is spoken at a path."""
    if gemini.PATH.fullmatch(path):
        return _Wire(partial(gemini.read, path=path), gemini.message, gemini.stream, gemini.error)
    return _WIRES.get(path)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def do_HEAD(self) -> None:
        self._note()
        self._json(200, {})

    def do_GET(self) -> None:
        self._note()
        if self._route()[1] == "/v1/models":
            self._json(200, _MODELS)
        else:
            self._unknown()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, path = self._route()
        if wire := _wire(path):
            self._model(wire, body)
            return
        self._note()
        if path == "/v1/messages/count_tokens":
            self._json(200, {"input_tokens": max(1, len(body) // 4)})
        else:
            self._unknown()

    def log_message(self, format: str, *args: object) -> None:
        """Silence: ``requests`` is the log."""

    def _route(self) -> tuple[str, str]:
        """``/s/KEY/rest?query`` as key and ``/rest``."""
        path = self.path.partition("?")[0]
        if not path.startswith("/s/"):
            return "", path
        key, _, rest = path.removeprefix("/s/").partition("/")
        return key, f"/{rest}"

    def _note(self, conversation: Conversation | None = None) -> Request:
        key, path = self._route()
        known = any(map(self.headers.get, ("x-api-key", "authorization", "x-goog-api-key")))
        request = Request(key, path, known)
        if conversation is not None:
            request = attrs.evolve(
                request,
                model=conversation.model,
                prompt=conversation.prompt,
                messages=len(conversation.turns),
                streaming=conversation.streaming,
                aside=conversation.prompt.startswith(_MEMORY) or conversation.context.startswith(_TITLE),
            )
        self.server.record(request)
        return request

    def _model(self, wire: _Wire, body: bytes) -> None:
        try:
            conversation = wire.read(body)
        except (ValueError, cattrs.BaseValidationError) as wrong:
            self._note()
            self._fail(wire, Failure(400, "invalid_request_error", f"not a request: {wrong!r}"), "unread")
            return
        request = self._note(conversation)
        hit = 0 if request.aside else self.server.hit(request.key)
        call_id = f"{zlib.crc32(request.key.encode()):08x}{hit:03d}"
        match _answer(request, attrs.evolve(conversation, hit=hit)):
            case Failure() as failure:
                self._fail(wire, failure, call_id)
            case reply if conversation.streaming:
                self._stream(wire.stream(conversation, reply, call_id), reply, call_id)
            case reply if reply.fault:
                self._break(reply.fault)
            case reply:
                self._json(200, wire.message(conversation, reply, call_id), reply.headers)

    def _stream(self, frames: Iterator[Frame], reply: Reply, call_id: str) -> None:
        self.send_response(200)
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        self._headers({**headers, "request-id": f"req_{call_id}", **reply.headers})
        deltas = 0
        for frame in frames:
            if frame.delay and self.server.stopping.wait(frame.delay):
                self.close_connection = True
                return
            if frame.is_delta and reply.fault and deltas == reply.fault.after:
                self._break(reply.fault)
                return
            deltas += frame.is_delta
            self.wfile.write(b"%x\r\n%s\r\n" % (len(frame.data), frame.data))
        self.wfile.write(b"0\r\n\r\n")

    def _break(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.kind == "silence":
            self.connection.recv(1)  # returns when the client leaves or the server stops
        else:
            linger = struct.pack("ii", 1, 0)  # closing sends a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _fail(self, wire: _Wire, failure: Failure, call_id: str) -> None:
        headers = {"request-id": f"req_{call_id}", **failure.headers}
        self._json(failure.status, wire.error(failure, call_id), headers)

    def _unknown(self) -> None:
        self._json(404, {"error": {"message": f"no route {self.path}"}})

    def _json(
        self, status: int, value: JSON | Mapping[str, JSON], headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self._headers(
            {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        )
        if self.command != "HEAD":
            self.wfile.write(body)

    def _headers(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


_MEMORY = "Managed memory directory"  # how qwen 0.15.10 begins its memory question
_TITLE = "You are a title generator"  # how opencode 1.18.33 asks for the title of a conversation


def _answer(request: Request, conversation: Conversation) -> Reply | Failure:
    if request.aside:
        return Reply((Text("Nothing worth remembering."),))
    script = SCRIPTS.get(request.key.partition("+")[0])
    if script is None:
        return Failure(404, "not_found_error", f"no script for {request.key!r}")
    return script(conversation)
