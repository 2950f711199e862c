"""Which server the settings mean, and how it is talked to. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON
    from mahavishnu_core.settings import Settings
    from mahavishnu_session_buddy.letter import Letter

TOKEN_VARIABLE = "MAHAVISHNU_SESSION_BUDDY_TOKEN"  # noqa: S105  # a name
_PORTS = {"http": 80, "https": 443}
_WORD = re.compile(r"\{(content|id|title)\}")


@attrs.frozen
class Target:
    """A server behind a URL, or behind the standard streams of a command."""

    url: str
    command: tuple[str, ...]
    """Empty for a server behind the URL."""
    token: str = attrs.field(repr=False)
    """Sent as bearer token with every HTTP request; empty for none."""
    tool: str
    """The server's tool that stores, where it is not one that we know."""
    arguments: Mapping[str, JSON]
    is_chosen: bool
    """Whether the user named a server; else it is where one may be listening."""

    def __str__(self) -> str:
        return f"{self.command[0]!r}" if self.command else self.url


def target_of(settings: Settings, environ: Mapping[str, str]) -> Target:
    default = type(settings)()
    chosen = (settings.session_buddy_url, settings.session_buddy_command)
    return Target(
        url=settings.session_buddy_url,
        command=tuple(shlex.split(settings.session_buddy_command)),
        token=environ.get(TOKEN_VARIABLE, ""),
        tool=settings.session_buddy_tool,
        arguments=settings.session_buddy_arguments,  # type: ignore[arg-type]  # JSON, by its rule
        is_chosen=chosen != (default.session_buddy_url, default.session_buddy_command),
    )


def address_of(url: str) -> tuple[str, int]:
    """Host and port behind a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


def nothing_listens(url: str) -> tuple[str, str]:
    """What to say where nobody does, and what to do about it."""
    return (
        f"nothing listens at {url}",
        "start Session-Buddy, or do without: 'mahavishnu config set session_buddy_integration false'",
    )


def fill(template: JSON, letter: Letter) -> JSON:
    """An argument of a tool that the settings name, with the letter put into it."""
    match template:
        case "{tags}":
            return list(letter.tags)
        case str():
            title = letter.content.partition("\n")[0]
            words = {"content": letter.content, "id": letter.token, "title": title}
            return _WORD.sub(lambda word: words[word[1]], template)
        case list():
            return [fill(item, letter) for item in template]
        case dict():
            return {name: fill(item, letter) for name, item in template.items()}
    return template
