"""Which of the caller's environment variables a worker gets: an allow-list and what its type names."""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING

from mahavishnu_core.keeper.family import MARK
from mahavishnu_core.nesting import DEPTH, depth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mahavishnu_core.models import Command

_STATE_DIR = "MAHAVISHNU_STATE_DIR"
ALLOWED = (
    "COLORTERM",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
    _STATE_DIR,
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_*",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)
"""What every program needs to find its way; nothing here is a secret of a vendor."""

ELSEWHERE = ("COLORTERM", "LANG", "LANGUAGE", "LC_*", "TERM", "TZ")
"""What of it means the same on another machine or in a container."""

NEVER = ("MAHAVISHNU_MCP_TOKEN", "MAHAVISHNU_SESSION_BUDDY_TOKEN")
"""What no worker gets, whoever lets it in: the keys to our own door and to where we keep results."""


class CallersEnvironment:
    """The caller's variables as they were when the engine began, and what of them a command gets."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        if given := environ.get(_STATE_DIR):  # a worker runs elsewhere
            self._environ[_STATE_DIR] = str(Path(given).absolute())
        self._depth = str(depth_of(environ) + 1)
        self._passed: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, str]] = {}
        """By what commands ask for and refuse: few kinds of commands, many tasks."""

    def compose(self, command: Command, task_id: str) -> dict[str, str]:
        """The whole environment of a command, with the marks that tell whose it is and how deep."""
        return self.choose(command, ALLOWED) | {MARK: task_id}

    def choose(self, command: Command, allowed: tuple[str, ...]) -> dict[str, str]:
        """The environment of a command, where ``allowed`` is what of the caller's any command gets."""
        terms = ((*allowed, *command.pass_env), command.drop_env)
        if terms not in self._passed:
            self._passed[terms] = self._choose(*terms)
        return self._passed[terms] | dict(command.env) | {DEPTH: self._depth}

    def _choose(self, pass_env: tuple[str, ...], drop_env: tuple[str, ...]) -> dict[str, str]:
        wanted, dropped = _any_of(pass_env), _any_of((*NEVER, *drop_env))
        return {name: value for name, value in self._environ.items() if wanted(name) and not dropped(name)}


def _any_of(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Whether a name is one of these, or matches one: ``ANTHROPIC_*``."""
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match
