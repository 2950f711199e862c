"""Which of the caller's environment variables a worker gets: an allow-list and what its type names."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mahavishnu_core.models import Command

ALLOWED = (
    "COLORTERM",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
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


def compose(environ: Mapping[str, str], command: Command, task_id: str) -> dict[str, str]:
    """The whole environment of a command, with the mark that tells whose it is."""
    wanted, dropped = _any_of((*ALLOWED, *command.pass_env)), _any_of(command.drop_env)
    passed = {name: value for name, value in environ.items() if wanted(name) and not dropped(name)}
    return passed | dict(command.env) | {"MAHAVISHNU_TASK": task_id}


@cache
def _any_of(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """Whether a name is one of these, or matches one: ``ANTHROPIC_*``."""
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match
