"""Runs the server until its client leaves or a signal comes. Tasks that run go on."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.text import printable
from mahavishnu_mcp.sdk import lowlevel
from mahavishnu_mcp.server import open_server
from mahavishnu_mcp.token import VARIABLE, kept_token, token_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mahavishnu_core.app import App
    from mahavishnu_mcp.http import Address
    from mahavishnu_mcp.service import Roots, Service


def serve_stdio(app: App, roots: Roots) -> int:
    """Serve one client on the standard streams; 0 when it has left, 128+n after signal n.

    Raises StateDirError.
    """
    from mahavishnu_mcp.stdio import take_over

    log_to_stderr()
    return trio.run(_serve_stdio, app, roots, take_over())


def serve_http(app: App, roots: Roots, address: Address) -> int:
    """Serve clients over HTTP until a signal comes; 128+n. Raises UsageError, StateDirError."""
    log_to_stderr()
    given = token_in(os.environ)
    address.require_explicit(given)
    return trio.run(partial(_serve_http, app, roots, address, given))


async def _serve_stdio(app: App, roots: Roots, taken: tuple[int, int]) -> int:
    from mahavishnu_mcp.stdio import open_stdio

    async with open_server(app, roots) as (server, service), _ending(service) as ending:
        own = lowlevel(server)
        async with open_stdio(taken, service.leave) as (incoming, outgoing):
            await own.run(incoming, outgoing, own.create_initialization_options())
    return ending.status


async def _serve_http(app: App, roots: Roots, address: Address, given: str | None) -> int:
    from mahavishnu_mcp.http import open_http

    async with open_server(app, roots) as (server, service), _ending(service) as ending:
        token, file = (given, None) if given else kept_token(service.state.root)
        where = f"${VARIABLE}" if file is None else str(file)
        async with open_http(server, address, token) as url:
            print(f"serving {url}, token in {where}", file=sys.stderr, flush=True)
            await trio.sleep_forever()
    return ending.status


@attrs.define
class _Ending:
    """How the server came to its end: 0, or 128+n for signal n."""

    status: int = 0


@asynccontextmanager
async def _ending(service: Service) -> AsyncIterator[_Ending]:
    """Leave the block when a signal comes. One that the caller had ignored stays ignored."""
    heeded = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    ending = _Ending()
    with trio.open_signal_receiver(
        *(number for number in heeded if signal.getsignal(number) is not signal.SIG_IGN)
    ) as coming:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for number in coming:
                    service.leave()
                    ending.status = 128 + number
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            yield ending
            service.leave()
            nursery.cancel_scope.cancel()


def log_to_stderr() -> None:
    """What the SDK and we have to say goes to standard error, a line each; before the SDK sets up its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("mahavishnu mcp: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Printable(logging.Formatter):
    """What clients send stands in log lines: nothing in it may be obeyed by a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
