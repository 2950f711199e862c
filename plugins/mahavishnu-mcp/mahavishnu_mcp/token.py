"""The bearer token of the server over HTTP: given by a variable, or made once and kept for its owner."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from mahavishnu_core.errors import StateDirError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "MAHAVISHNU_MCP_TOKEN"
FILE = "mcp-token"
_SHORTEST = 16


def token_in(environ: Mapping[str, str]) -> str | None:
    """The token that the caller gives, None for none. Raises UsageError for one that can be guessed."""
    token = environ.get(VARIABLE)
    if not token:
        return None
    if not _is_fit(token):
        raise UsageError(
            f"{VARIABLE} must be at least {_SHORTEST} printable ASCII characters without a space: "
            "'openssl rand -hex 32' makes a good one"
        )
    return token


def kept_token(state_dir: Path) -> tuple[str, Path]:
    """The token of a state directory, made where there is none, and its file. Raises StateDirError."""
    file = state_dir / FILE
    try:
        if not file.exists():
            _make(file)
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, errors="replace") as opened:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise StateDirError(f"others may read {str(file)!r}: delete it, and a new one is made")
            token = opened.read().strip()
    except OSError as error:
        raise StateDirError(f"cannot use {str(file)!r}: {error.strerror}") from error
    if not _is_fit(token):
        raise StateDirError(f"{str(file)!r} holds no token: delete it, and a new one is made")
    return token, file


def _is_fit(token: str) -> bool:
    return len(token) >= _SHORTEST and token.isascii() and token.isprintable() and " " not in token


def _make(file: Path) -> None:
    """Whole or not at all, and not over another one."""
    made = file.with_name(f".{FILE}.{secrets.token_hex(6)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(secrets.token_urlsafe(32) + "\n")
    with suppress(FileExistsError):  # another server was faster
        os.link(made, file)
    made.unlink()
