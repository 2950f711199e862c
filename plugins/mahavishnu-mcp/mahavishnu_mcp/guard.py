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
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
        if scope["type"] != "http":
            raise ValueError("only HTTP is served here")
        refusal = await TransportSecurityMiddleware(self._security).validate_request(Request(scope))
        if refusal is None and not self._is_authorized(scope):
            header = {"www-authenticate": 'Bearer realm="mahavishnu"'}
            refusal = PlainTextResponse("a bearer token is needed", 401, header)
        if refusal is None and self._under_way >= _MOST_REQUESTS:
            refusal = PlainTextResponse("too many requests are under way", 503, {"retry-after": "1"})
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, _in_time(receive), send)
        finally:
            self._under_way -= 1

    def _is_authorized(self, scope: Scope) -> bool:
        """By the header alone: what stands in a URL is logged on the way."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        is_same = hmac.compare_digest(token.strip(), self._token.encode())
        return is_same and scheme.lower() == b"bearer"


def _in_time(receive: Receive) -> Receive:
    """The same messages; a client that does not get its body across in time has gone."""
    deadline = trio.current_time() + _BODY_PATIENCE
    is_whole = False

    async def receive_in_time() -> Message:
        nonlocal is_whole
        if is_whole:
            return await receive()
        with trio.move_on_at(deadline):
            message = await receive()
            is_whole = not message.get("more_body", False)
            return message
        return {"type": "http.disconnect"}

    return receive_in_time
