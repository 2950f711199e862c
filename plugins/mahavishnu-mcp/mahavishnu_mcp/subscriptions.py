"""Tells clients when a worker that they subscribed to has changed: in both eras of the protocol."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import attrs
import trio
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated
from mcp_types import EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from mahavishnu_mcp.answers import worker_uri
from mahavishnu_mcp.sdk import lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext
    from mcp.server.mcpserver import MCPServer
    from mcp.server.session import ServerSession
    from mcp.server.subscriptions import ServerEvent

    from mahavishnu_mcp.service import Service

_LOOK_EVERY = 1.0
_GATHER = 0.1
"""Seconds between two looks when much happens: each is at all workers."""
_PATIENCE = 5.0
"""Seconds in which a client must take what it is told: the others wait behind it."""
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)
_log = logging.getLogger(__name__)
_MOST = 1000
"""Subscriptions of clients of the older era, which do not tell when they leave: the oldest make room."""


@attrs.define(eq=False)
class Subscriptions(InMemorySubscriptionBus):
    """Who wants to know of which worker: listeners of the newer era, sessions of the older one."""

    _sessions: dict[tuple[str, int], ServerSession] = attrs.field(factory=dict)
    _someone: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        self._someone.set()
        return super().subscribe(listener)

    async def add(self, context: ServerRequestContext[object], params: SubscribeRequestParams) -> EmptyResult:
        await trio.lowlevel.checkpoint()
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[params.uri, _key(context)] = context.session
        self._someone.set()
        return EmptyResult()

    async def remove(
        self, context: ServerRequestContext[object], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        await trio.lowlevel.checkpoint()
        self._sessions.pop((params.uri, _key(context)), None)
        return EmptyResult()

    async def tell_changes(self, service: Service) -> None:
        """Compare how workers stand with how they stood, and tell who wants to know, until cancelled."""
        await self._someone.wait()
        moment, before = service.follower.moment, _standing(service)
        while True:
            await service.follower.news(moment, _LOOK_EVERY)
            await trio.sleep(_GATHER)
            moment, now = service.follower.moment, _standing(service)
            for uri in sorted(uri for uri in before.keys() | now.keys() if before.get(uri) != now.get(uri)):
                await self.publish(ResourceUpdated(uri=uri))
                await self._tell_sessions(uri)
            before = now

    async def _tell_sessions(self, uri: str) -> None:
        for key, session in list(self._sessions.items()):
            if key[0] == uri:
                with trio.move_on_after(_PATIENCE), suppress(*_GONE):
                    await session.send_resource_updated(uri)
                    continue
                _log.info("a client that wanted to know of %s has gone, or does not listen", uri)
                self._sessions.pop(key, None)


def add_subscriptions(server: MCPServer, subscriptions: Subscriptions) -> None:
    """Serve ``resources/subscribe``, which the SDK leaves to us; it serves ``subscriptions/listen``."""
    own = lowlevel(server)
    own.add_request_handler("resources/subscribe", SubscribeRequestParams, subscriptions.add)
    own.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, subscriptions.remove)


def _standing(service: Service) -> dict[str, tuple[str, str | None]]:
    """Of the open workers: one that was closed has changed by not being among them."""
    return {worker_uri(line.worker_id): (line.status, line.task_id) for line in service.lines()}


def _key(context: ServerRequestContext[object]) -> int:
    """Of a client's connection: each has a session object for every request, and one set of parameters."""
    return id(context.session.client_params)
