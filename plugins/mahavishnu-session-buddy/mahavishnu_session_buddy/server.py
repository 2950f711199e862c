"""A conversation with the server: the SDK's client, its many errors made two, and the few tools we need."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import attrs
import trio

from mahavishnu_core.text import one_line
from mahavishnu_session_buddy.errors import MirrorError, Refused, Unreachable
from mahavishnu_session_buddy.letter import Letter, title_of
from mahavishnu_session_buddy.target import (
    TOKEN_VARIABLE,
    Target,
    address_of,
    fill,
    nothing_listens,
)

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

    from mahavishnu_core.models import JSON

CONNECT_PATIENCE = 10.0
"""Seconds in which a server that listens has to greet us."""
START_PATIENCE = 45.0
"""The same for one that is started first: 4 to 9 s on an idle machine (seen in 0.23.0)."""
CALL_PATIENCE = 75.0
"""Seconds for a call: the first store of a new home takes 7 s, one beside a hanging embedder 60 (0.23.0)."""
_CLOSE_PATIENCE = 5.0
"""Seconds for taking leave: whoever does not answer any more is left."""
_REASON_WIDTH = 300
_STORED = "stored successfully"
_LOOKED_UP_AT_ONCE = 20


async def converse(target: Target, home: Path, talk: Callable[[Server], Awaitable[None]]) -> None:
    """Connect, have ``talk`` do its work, and take leave. Raises MirrorError.

    ``home`` is the working directory of a server that is started: Session-Buddy leaves files there.
    """
    failure: Exception | None = None
    has_greeted = is_done = False
    refusals: list[int] = []
    patience = START_PATIENCE if target.command else CONNECT_PATIENCE
    try:
        with trio.CancelScope(deadline=trio.current_time() + patience) as scope:
            async with _connected(target, home, refusals) as client:
                server = await _greet(client, target)
                has_greeted, scope.deadline = True, math.inf
                try:
                    await talk(server)
                    is_done = True
                except Exception as error:  # noqa: BLE001  # raised below: the client's task groups would wrap it
                    failure = error
                finally:
                    scope.deadline = trio.current_time() + _CLOSE_PATIENCE
    except Exception as error:  # noqa: BLE001  # the SDK lets through what its tasks meet, in groups
        failure = failure or _as_failure(error, target, refusals)
    except BaseExceptionGroup as group:
        raise group.subgroup(trio.Cancelled) or group from None
    if not has_greeted and failure is None:
        failure = Unreachable(f"{target} has not answered for {patience:g} s", "look what it does")
    if failure is not None and not is_done:
        raise failure


@attrs.frozen
class Server:
    """The other side, with the tools that it has."""

    _client: Client
    _target: Target
    _tools: frozenset[str]
    _tool: str
    """What stores."""

    @property
    def name(self) -> str:
        """What it calls itself, and its version."""
        told = self._client.server_info
        return one_line(f"{told.name} {told.version}", 80) if told else "a server without a name"

    @property
    def can_look(self) -> bool:
        """Whether it can be asked what it has."""
        return bool(self._tools & {"quick_search", "fingerprint_search"})

    async def store(self, letter: Letter) -> None:
        """Raises Refused, and Unreachable when it is not known what came of it."""
        answer = await self._call(self._tool, self._arguments(letter))
        told = _text_of(answer)
        is_known = self._tool == "store_reflection"
        # a refusal, a locked database and a crash are told in words, not as errors (seen in 0.23.0)
        if answer.is_error or (_STORED not in told if is_known else told.startswith(("❌", "Error"))):
            raise Refused(f"it answered {one_line(told, _REASON_WIDTH)!r}")

    async def find(self, tokens: Iterable[str]) -> frozenset[str]:
        """Which of the letters it has. Raises MirrorError."""
        wanted = list(tokens)
        found = {token for token in wanted if await self._shows(token)}
        if "fingerprint_search" in self._tools:
            # it looks at every row, and so is asked about many at once, and only those not seen so far: the
            # quick search shows the newest match alone, and remembers answers about rows that are gone
            missing = [token for token in wanted if token not in found]
            for start in range(0, len(missing), _LOOKED_UP_AT_ONCE):
                found |= await self._search(missing[start : start + _LOOKED_UP_AT_ONCE])
        return frozenset(found)

    async def flush(self) -> bool:
        """Have it write down what it has; False where it has no way to. Raises MirrorError."""
        if "reset_reflection_database" not in self._tools:
            return False
        told = _text_of(await self._call("reset_reflection_database", {}))
        if "✅" not in told:
            raise Refused(f"asked to write to its disk, it answered {one_line(told, _REASON_WIDTH)!r}")
        return True

    async def _shows(self, token: str) -> bool:
        if "quick_search" not in self._tools:
            return False
        return title_of(token) in _text_of(await self._call("quick_search", {"query": token}))

    async def _search(self, tokens: list[str]) -> set[str]:
        arguments: dict[str, JSON] = {
            "query": " ".join(tokens),
            "content_type": "reflection",
            "threshold": 1.01,  # nothing is as similar: it looks for the words
            "limit": 4 * len(tokens),
        }
        answer = await self._call("fingerprint_search", arguments)
        told = answer.structured_content or {}
        if not told.get("success"):
            said = one_line(str(told.get("message") or _text_of(answer)), _REASON_WIDTH)
            raise Refused(f"asked what it has, it answered {said!r}")
        contents = [str(each.get("content")) for each in told.get("results", ()) if isinstance(each, dict)]
        return {token for token in tokens if any(title_of(token) in content for content in contents)}

    def _arguments(self, letter: Letter) -> dict[str, JSON]:
        if self._target.tool:
            template = dict(self._target.arguments) or {"content": "{content}", "tags": "{tags}"}
            return {name: fill(value, letter) for name, value in template.items()}
        if self._tool == "store_reflection":
            return {"content": letter.content, "tags": list(letter.tags)}
        return {"content": letter.content, "metadata": {"id": letter.token, "tags": list(letter.tags)}}

    async def _call(self, tool: str, arguments: Mapping[str, JSON]) -> CallToolResult:
        try:
            return await self._client.call_tool(tool, dict(arguments), read_timeout_seconds=CALL_PATIENCE)
        except Exception as error:  # the SDK raises what it likes for what it cannot read
            said = one_line(str(error), _REASON_WIDTH)
            raise Unreachable(f"{self._target} broke off in {tool!r} ({said})", "look at its log") from error


async def _greet(client: Client, target: Target) -> Server:
    """What the other side can do. Raises MirrorError where it has no tool that stores."""
    tools: set[str] = set()
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools |= {tool.name for tool in page.tools}
        cursor = page.next_cursor
        if not cursor:
            break
    wanted = (target.tool,) if target.tool else ("store_reflection", "store_memory")
    for tool in wanted:
        if tool in tools:
            return Server(client, target, frozenset(tools), tool)
    raise MirrorError(
        f"{target} has no tool {' or '.join(map(repr, wanted))}",
        "name one of its tools: 'mahavishnu config set session_buddy_tool NAME'",
    )


async def _require_listener(url: str) -> None:
    """Raises Unreachable; the SDK would say only that all attempts have failed."""
    try:
        await (await trio.open_tcp_stream(*address_of(url))).aclose()
    except OSError as error:
        raise Unreachable(*nothing_listens(url)) from error


@asynccontextmanager
async def _connected(target: Target, home: Path, refusals: list[int]) -> AsyncIterator[Client]:
    """A client; each HTTP status that says no goes into ``refusals``, since the SDK does not tell it."""
    await trio.to_thread.run_sync(import_module, "mcp")  # it takes a second: the loop goes on meanwhile
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client

    logging.getLogger("mcp").addHandler(logging.NullHandler())  # what it would say to the user, we do
    if target.command:
        program, *arguments = target.command
        parameters = StdioServerParameters(command=program, args=arguments, cwd=home)
        with _log_in(home) as log:
            async with Client(stdio_client(parameters, log)) as client:
                yield client
        return
    await _require_listener(target.url)
    import httpx2

    async def look(response: httpx2.Response) -> None:
        await trio.lowlevel.checkpoint()
        if response.is_error:
            refusals.append(response.status_code)

    headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    timeout = httpx2.Timeout(CONNECT_PATIENCE, read=CALL_PATIENCE + _CLOSE_PATIENCE)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks={"response": [look]}) as http,
        Client(streamable_http_client(target.url, http_client=http)) as client,
    ):
        yield client


def _log_in(home: Path) -> TextIO:
    """What a server that we start says on its standard error: that of the last one, for its owner alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.fdopen(os.open(home / "server.log", flags, 0o600), "w")


def _text_of(answer: CallToolResult) -> str:
    return "\n".join(str(getattr(part, "text", "")) for part in answer.content)


def _as_failure(error: Exception, target: Target, refusals: list[int]) -> MirrorError:
    """What an error of the SDK's means, and what to do about it."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, MirrorError):
        return first
    said = one_line(str(first), _REASON_WIDTH) or type(first).__name__
    said = f"HTTP status {refusals[-1]}" if refusals else said
    advice = "look whether it runs, and whether it is an MCP server"
    if target.command:
        advice = "see session-buddy/server.log in the state directory"
    elif refusals and refusals[-1] in {401, 403}:
        advice = f"give its token in the variable {TOKEN_VARIABLE}"
    return Unreachable(f"{target} cannot be talked to ({said})", advice)
