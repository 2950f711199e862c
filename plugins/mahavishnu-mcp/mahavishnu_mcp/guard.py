"""What stands before the protocol over HTTP: host, origin, token, and how much at once and how slowly."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import attrs
import trio
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_BODY = 4 * 1024 * 1024
_BODY_PATIENCE = 30.0
"""Seconds in which a request's body must have come."""
_MOST_REQUESTS = 256
"""Requests that may be under way: a long call, or a stream of events, is one."""


def security_for(hosts: tuple[str, ...]) -> TransportSecuritySettings:
    """Requests that name one of these hosts, from pages of these hosts or from no page at all."""
    return TransportSecuritySettings(
        allowed_hosts=list(hosts),
        allowed_origins=[f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")],
    )


@attrs.define(eq=False)
class Guard:
    """An ASGI application before another one. Nothing of a request that is refused reaches that."""

    _app: ASGIApp
    _token: str = attrs.field(repr=False)
    _security: TransportSecuritySettings
    _under_way: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (refusal := await self._refusal(scope)) is not None:
            # so that who has no token holds no connection: what else comes on it is not looked at
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._pass_on(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _refusal(self, scope: Scope) -> Response | None:
        refusal = await TransportSecurityMiddleware(self._security).validate_request(Request(scope))
        if refusal is not None:
            return refusal
        if not self._is_authorized(scope):
            header = {"www-authenticate": 'Bearer realm="mahavishnu"'}
            return PlainTextResponse("a bearer token is needed", 401, header)
        if self._under_way >= _MOST_REQUESTS:
            return PlainTextResponse("too many requests are under way", 503, {"retry-after": "1"})
        return None

    def _is_authorized(self, scope: Scope) -> bool:
        """By the header alone: what stands in a URL is logged on the way."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        is_same = hmac.compare_digest(token.strip(), self._token.encode())
        return is_same and scheme.lower() == b"bearer"

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        with trio.move_on_after(_BODY_PATIENCE) as patience:
            body = await _body(receive)
        if patience.cancelled_caught:
            await _too_much(408, "the request took too long to come")(scope, receive, send)
        elif body is not None and len(body) > LONGEST_BODY:
            await _too_much(413, f"{LONGEST_BODY} bytes is the most")(scope, receive, send)
        elif body is not None:
            await self._app(scope, _replayed(body, receive), send)


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or the beginning of one that is too long; None where it breaks off."""
    body, is_whole = bytearray(), False
    while not is_whole and len(body) <= LONGEST_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    return bytes(body)


def _too_much(status: int, words: str) -> Response:
    return PlainTextResponse(words, status, {"connection": "close"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """That body, then what comes from the client."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
