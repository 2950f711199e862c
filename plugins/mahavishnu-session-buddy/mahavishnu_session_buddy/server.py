"""A conversation with the server: the SDK's client, its many errors made two, and the few tools we need."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.text import one_line, redact
from mahavishnu_session_buddy.connection import CALL_PATIENCE, CLOSE_PATIENCE, CONNECT_PATIENCE, connected
from mahavishnu_session_buddy.errors import MirrorError, Refused, Unreachable
from mahavishnu_session_buddy.names import title_of
from mahavishnu_session_buddy.target import TOKEN_VARIABLE, Target, fill

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

    from mahavishnu_core.models import JSON
    from mahavishnu_session_buddy.letter import Letter

START_PATIENCE = 45.0
"""Seconds for a server that is started first: 4 to 9 s on an idle machine (seen in 0.23.0)."""
_REASON_WIDTH = 300
_STORED = "stored successfully"
_LOOKED_UP_AT_ONCE = 20
_ROWS_FOR_ONE = 50
"""Rows in which a letter is looked for among those that quote its word; an answer may have 1 MiB."""


async def converse(target: Target, home: Path, talk: Callable[[Server], Awaitable[None]]) -> None:
    """Connect, have ``talk`` do its work, and take leave. Raises MirrorError, and what ``talk`` raises.

    ``home`` is the working directory of a server that is started: Session-Buddy leaves files there.
    """
    failure: Exception | None = None
    is_done = False
    refusals: list[int] = []
    patience = START_PATIENCE if target.command else CONNECT_PATIENCE
    try:
        with trio.CancelScope(deadline=trio.current_time() + patience) as scope:
            async with connected(target, home, refusals) as client:
                server = await _greet(client, target)
                scope.deadline = math.inf
                refusals.clear()  # of a protocol that it does not know, say
                try:
                    await talk(server)
                    is_done = True
                except Exception as error:  # noqa: BLE001  # raised below: the client's task groups would wrap it
                    failure = error
                finally:
                    scope.deadline = trio.current_time() + CLOSE_PATIENCE
    except Exception as error:  # noqa: BLE001  # the SDK lets through what its tasks meet, in groups
        failure = failure or _as_failure(error, target, refusals)
    except BaseExceptionGroup as group:
        raise group.subgroup(trio.Cancelled) or group from None
    if not is_done:
        raise failure or Unreachable(f"{target} has not answered for {patience:g} s", "look what it does")


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
            raise Refused(f"it answered {self._quote(told)}")

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
            raise Refused(f"asked to write to its disk, it answered {self._quote(told)}")
        return True

    async def _shows(self, token: str) -> bool:
        """Whether the newest row with the word is the letter; False where that is not to be had."""
        if "quick_search" not in self._tools:
            return False
        answer = await self._call("quick_search", {"query": token})
        told = _text_of(answer)
        has_answered = not answer.is_error and ("No results found" in told or "Found results" in told)
        if not has_answered and "fingerprint_search" not in self._tools:
            raise Refused(f"asked what it has, it answered {self._quote(told)}")
        return self._is_letter(told.partition("📝 ")[2], token)

    async def _search(self, tokens: list[str]) -> set[str]:
        most = 2 * len(tokens) if len(tokens) > 1 else _ROWS_FOR_ONE
        contents = await self._contents_with(tokens, most)
        found = {token for token in tokens if any(self._is_letter(content, token) for content in contents)}
        missing = [token for token in tokens if token not in found]
        if missing and len(contents) >= most and len(tokens) > 1:  # some may be behind others that quote them
            for token in missing:
                found |= await self._search([token])
        return found

    async def _contents_with(self, tokens: list[str], most: int) -> list[str]:
        """The newest rows with one of the words."""
        arguments: dict[str, JSON] = {
            "query": " ".join(tokens),
            "content_type": "reflection",
            "threshold": 1.01,  # nothing is as similar: it looks for the words
            "limit": most,
        }
        answer = await self._call("fingerprint_search", arguments)
        told = answer.structured_content or {}
        rows = told.get("results")
        if not told.get("success") or not isinstance(rows, list):
            said = str(told.get("message") or _text_of(answer))
            raise Refused(f"asked what it has, it answered {self._quote(said)}")
        return [str(each.get("content")) for each in rows if isinstance(each, dict)]

    def _is_letter(self, content: str, token: str) -> bool:
        """Whether a content is the letter; one that a template was put around has its title somewhere."""
        title = title_of(token)
        return title in content if self._target.tool else content.startswith(title)

    def _quote(self, told: str) -> str:
        return repr(_in_words(told, self._target))

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
            said = _in_words(str(error), self._target)
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


def _text_of(answer: CallToolResult) -> str:
    return "\n".join(str(getattr(part, "text", "")) for part in answer.content)


def _as_failure(error: Exception, target: Target, refusals: list[int]) -> MirrorError:
    """What an error of the SDK's means, and what to do about it."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, MirrorError):
        return first
    said = _in_words(str(first), target) or type(first).__name__
    said = f"HTTP status {refusals[-1]}" if refusals else said
    advice = "look whether it runs, and whether it is an MCP server"
    if target.command:
        advice = "see session-buddy/server/server.log in the state directory"
    elif refusals and refusals[-1] in {401, 403}:
        advice = f"give its token in the variable {TOKEN_VARIABLE}"
    return Unreachable(f"{target} cannot be talked to ({said})", advice)


def _in_words(told: str, target: Target) -> str:
    """What the other side says, on one line that can be shown to anybody."""
    return one_line(redact(told, (target.token,) if target.token else ()), _REASON_WIDTH)
