"""Who calls over HTTP: whether the program at the other end is a worker's, known by whose its socket is.

A worker whose agent has this server in its own configuration, token and all, reaches it with nothing else to
tell it by: what an agent sends is its own affair.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from mahavishnu_core.errors import UsageError
from mahavishnu_core.nesting import depth_of_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.mcpserver import Context

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LOCAL, _REMOTE, _INODE = 1, 2, 9
"""Columns of these tables."""


async def refuse_workers(ctx: Context) -> None:
    """Let no worker start workers over HTTP, however deep they may be nested: theirs would count as ours.

    Raises UsageError. Over the standard streams the server is the worker's own, and knows how deep it is.
    """
    request = ctx.request_context.request
    if request is None or request.client is None:
        return
    depth = await trio.to_thread.run_sync(depth_of_client, request.client.port, request.scope["server"][1])
    if depth:
        raise UsageError(f"the program that calls is itself a worker (depth {depth}): do the work there")


def depth_of_client(port: int, own_port: int) -> int:
    """How many workers stand between the user and the program that called from ``port``; 0 for none.

    Blocks for some milliseconds. 0 as well for one on another machine, or of another user.
    """
    inode = _inode(port, own_port)
    if inode is None:
        return 0
    link = f"socket:[{inode}]"
    return max((depth_of_process(pid) for pid in _processes() if link in _open_files(pid)), default=0)


def _inode(port: int, own_port: int) -> str | None:
    for table in _TABLES:
        with suppress(OSError), Path(table).open() as file:
            for line in file:
                columns = line.split()
                if _ends_in(columns[_LOCAL], port) and _ends_in(columns[_REMOTE], own_port):
                    return columns[_INODE]
    return None


def _ends_in(address: str, port: int) -> bool:
    return address.endswith(f":{port:04X}")


def _processes() -> Iterator[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return (pid for pid in pids if pid != os.getpid())


def _open_files(pid: int) -> set[str]:
    """Where the descriptors of a process lead; nothing for one that has gone or is not ours to look at."""
    found = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found
