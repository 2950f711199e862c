"""What Session-Buddy does to a content before it stores it; seen in 0.23.0, tool by tool."""

from __future__ import annotations

import hashlib
import re

LIMIT = 10_000
"""Bytes that a content may have; a longer one keeps as many *characters*."""

_ORDERS = re.compile(
    r"ignore\s+(?:all\s+)?previous\s+instructions?|</?(?:system|instruction|prompt)\s*>|\[/?INST\]",
    re.IGNORECASE,
)
_SPEAKERS = re.compile(r"\b(?:Human|Assistant):\s")
_FEIGNED = re.compile(r"^\s*(?:feedback|user)\s*:\s+", re.IGNORECASE | re.MULTILINE)
_PRIVATE = (
    (re.compile(r"\b(?:sk|pk|rk)_[a-z0-9]{20,}", re.IGNORECASE), "[REDACTED-SECRET]"),
    (re.compile(r"\bghp_[A-Za-z0-9]{36}\b"), "[REDACTED-SECRET]"),
    (re.compile(r"AKIA[0-9A-Z]{16}"), "[REDACTED-SECRET]"),
    (re.compile(r"\beyJ[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}\b", re.ASCII), "[REDACTED-SECRET]"),
    (re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b"), "[REDACTED-EMAIL]"),
    (re.compile(r"\b\d{3}-\d{2}-\d{4}\b"), "[REDACTED-SSN]"),
    (
        re.compile(r"\b(?:\+?\d{1,3}[-.\s]?)?\(?\d{3}\)?[-.\s]?\d{3}[-.\s]?\d{4}\b"),
        "[REDACTED-PHONE]",
    ),
    (re.compile(r"\b(?:\d{4}[-\s]?){3}\d{4}\b"), "[REDACTED-CC]"),
)


class Blocked(Exception):
    """A content that is not stored at all; says the rule."""


def screen(content: str, tags: list[str]) -> tuple[str, list[str]]:
    """Content and tags as they are stored. Raises Blocked.

    What is too long, or gives orders, is marked by two tags and not redacted.
    """
    data = content.encode("utf-8", "replace")
    marked = ["quarantine", f"hash:{hashlib.sha256(data).hexdigest()[:16]}", *tags]
    if len(data) > LIMIT:
        return content[:LIMIT], marked
    if {"feedback", "user"} & set(tags) and _FEIGNED.search(content):
        raise Blocked("Memory guard blocked write: rule=protected_key_tampering")
    if _ORDERS.search(content) or _SPEAKERS.search(content):
        return content, marked
    for pattern, name in _PRIVATE:
        content = pattern.sub(name, content)
    return content, tags
