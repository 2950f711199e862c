"""What a Session-Buddy remembers and answers, without any wire: its tools, its texts, its losses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from .arguments import Refused, read_arguments
from .guard import Blocked, screen

Answer: TypeAlias = dict[str, Any]
"""The result of ``tools/call``, as it is on the wire."""

TOOLS: dict[str, Any] = {
    tool["name"]: tool for tool in json.loads((Path(__file__).parent / "tools.json").read_text())
}
"""The tools that matter, as the real server 0.23.0 lists them."""

STORE_MEMORY: dict[str, Any] = {
    "name": "store_memory",
    "description": "Store a memory. (No server is known that has this tool.)",
    "inputSchema": {
        "additionalProperties": False,
        "properties": {
            "content": {"type": "string"},
            "metadata": {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None},
        },
        "required": ["content"],
        "type": "object",
    },
}


@attrs.define
class Row:
    """One reflection."""

    id: str
    content: str
    tags: list[str]
    created_at: str
    """UTC, ISO 8601 without a zone."""
    metadata: dict[str, Any] | None = None
    """What ``store_memory`` was given."""


@attrs.define
class Memory:
    """The rows, and the tools on them. ``calls`` holds every call in order, the refused ones too."""

    flushed: list[Row] = attrs.field(factory=list)
    """What is in the database itself."""
    log: list[Row] = attrs.field(factory=list)
    """What is in the database's log only, oldest first."""
    is_durable: bool = False
    """Whether a restart can read the log: the real server's can from the first flush on."""
    is_mended_by_flush: bool = True
    """False makes it worse than it is: each row is lost that was not itself flushed."""
    offers: dict[str, Any] = attrs.field(factory=TOOLS.copy)
    """The tools by name; take one out, or add STORE_MEMORY."""
    calls: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    _found: dict[str, list[str]] = attrs.field(factory=dict)
    count: int = 0
    """Rows that there ever were, for the ids."""

    @property
    def rows(self) -> list[Row]:
        """All that it has, oldest first."""
        return [*self.flushed, *self.log]

    @property
    def contents(self) -> list[str]:
        """What was stored, oldest first."""
        return [row.content for row in self.rows]

    def restart(self) -> None:
        """Lose what every end of the process loses, a clean one too: the log, and what was found."""
        if not self.is_durable:
            self.log.clear()
        self._found.clear()

    def flush(self) -> None:
        """Have the log in the database."""
        self.flushed += self.log
        self.log.clear()
        self._found.clear()
        self.is_durable |= self.is_mended_by_flush

    def forget(self, part: str) -> None:
        """Lose the rows that have this in their content, as if somebody else had deleted them."""
        for rows in (self.flushed, self.log):
            rows[:] = [row for row in rows if part not in row.content]

    def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Do what a tool does; ``calls`` is not touched."""
        if name not in self.offers:
            return failure(f"Unknown tool: {name!r}")
        try:
            given = read_arguments(name, self.offers[name]["inputSchema"], arguments)
            answer = _WORK[name](self, **given)
        except Refused as refused:
            return failure(str(refused))
        except Blocked as blocked:
            return failure(f"Error calling tool {name!r}: {blocked}")
        return text_result(answer) if isinstance(answer, str) else data_result(answer)

    def _add(self, content: str, tags: list[str], metadata: dict[str, Any] | None = None) -> None:
        self.count += 1
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        self.log.append(Row(f"01{self.count:024}", content, tags, now, metadata))

    def _store_reflection(self, content: str, tags: list[str] | None) -> str:
        if not content.strip():
            return "❌ Validation error: Store reflection - content cannot be empty"
        content, tags = screen(content, tags or [])
        self._add(content, tags)
        return _stored("Reflection", content, tags)

    def _store_memory(self, content: str, metadata: dict[str, Any] | None) -> str:
        self._add(content, [], metadata)
        return _stored("Memory", content, [])

    def _quick_search(self, query: str, min_score: float, project: str | None) -> str:
        asked = re.sub(r"[?!.;,]+$", "", " ".join(query.lower().split()))
        if asked in self._found:
            found = [row for row in self.rows if row.id in self._found[asked]]
        else:
            found = [row for row in self.rows if like(f"%{query}%", row.content) or query in row.tags][-1:]
            if found:
                self._found[asked] = [row.id for row in found]
        lines = [f"🔍 Quick search for: '{query}'"]
        if found:
            lines += ["📊 Found results (showing top 1)", f"📝 {_cut(found[0].content, 150)}"]
            lines += ["📅 Date: Unknown"]
        else:
            lines += ["🔍 No results found"]
            lines += ["💡 Try adjusting your search terms or lowering min_score"]
        return "\n".join(lines)

    def _fingerprint_search(
        self, query: str, content_type: str | None, threshold: float, limit: int, **_: object
    ) -> dict[str, Any]:
        rows = [] if content_type == "conversation" else self.rows[::-1]
        results = _similar(rows, query, threshold)[:limit] or _with_tokens(rows, query, limit)
        return {
            "success": True,
            "results": results,
            "conversation_results": [],
            "reflection_results": results,
            "total_results": len(results),
            "message": f"Found {len(results)} similar items using fingerprint search",
            "threshold_used": threshold,
        }

    def _reset_reflection_database(self) -> str:
        self.flush()
        return (
            "🔄 Reflection database connection reset\n"
            "✅ New connection established successfully\n"
            "💡 Database locks should be resolved"
        )

    def _reflection_stats(self, project: str | None) -> str:
        return (
            f"📊 Reflection Database Statistics\n{'=' * 40}\n"
            f"📈 Total reflections: {len(self.rows)}\n📁 Projects: 0\n\n"
            f"🏥 Database health: {'✅ Healthy' if self.rows else '⚠️ Empty'}"
        )


_WORK: dict[str, Callable[..., str | dict[str, Any]]] = {
    "store_reflection": Memory._store_reflection,
    "store_memory": Memory._store_memory,
    "quick_search": Memory._quick_search,
    "fingerprint_search": Memory._fingerprint_search,
    "reset_reflection_database": Memory._reset_reflection_database,
    "reflection_stats": Memory._reflection_stats,
}


def text_result(text: str) -> Answer:
    """What a tool answers that returns a text, be it good news or bad."""
    return {
        "_meta": {"fastmcp": {"wrap_result": True}},
        "content": [{"type": "text", "text": text}],
        "structuredContent": {"result": text},
        "isError": False,
    }


def data_result(data: dict[str, Any]) -> Answer:
    """What a tool answers that returns an object."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return {"content": [{"type": "text", "text": text}], "structuredContent": data, "isError": False}


def failure(text: str) -> Answer:
    """What is answered where a tool could not be called, or raised."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def like(pattern: str, text: str) -> bool:
    """SQL's LIKE: an underscore is any character, also in the ids that clients search for."""
    wild = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(wild.get(c) or re.escape(c) for c in pattern), text, re.DOTALL))


def _stored(what: str, content: str, tags: list[str]) -> str:
    lines = [f"💾 {what} stored successfully!", f"📝 Content: {_cut(content, 100)}"]
    if tags:
        lines.append(f"🏷️ Tags: {', '.join(tags)}")
    return "\n".join([*lines, f"📅 Stored: {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"])


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _similar(rows: Iterable[Row], query: str, threshold: float) -> list[dict[str, Any]]:
    """Rows that share enough triples of characters; neither their tags nor their times are told.

    The real server estimates the share, so that its numbers are some percent off.
    """
    found = [
        {"id": row.id, "content": row.content, "similarity": share, "content_type": "reflection"}
        for row in rows
        if (share := _share(_triples(query), _triples(row.content))) >= threshold
    ]
    return sorted(found, key=lambda each: each["similarity"], reverse=True)


def _triples(text: str) -> set[str]:
    text = " ".join(text.lower().split())
    return {text[start : start + 3] for start in range(max(1, len(text) - 2))}


def _share(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _with_tokens(rows: Iterable[Row], query: str, limit: int) -> list[dict[str, Any]]:
    """The newest rows with any word of the query, those with more of its words first."""
    tokens = re.findall(r"[a-z0-9_]{3,}", query.lower())
    found = [
        {
            "id": row.id,
            "content": row.content,
            "tags": row.tags,
            "created_at": row.created_at,
            "updated_at": row.created_at,
            "similarity": sum(token in row.content.lower() for token in tokens) / len(tokens),
            "content_type": "reflection",
        }
        for row in rows
        if any(like(f"%{token}%", row.content.lower()) for token in tokens)
    ][:limit]
    return sorted(found, key=lambda each: each["similarity"], reverse=True)
