"""How tasks and lines of logs are called in the outbox and at the server. Pure, and light to import."""

from __future__ import annotations

import re

_LOG = ".log."


def log_name(worker_id: str, first: int) -> str:
    """The name of lines of a log, from number ``first`` on; that of a task is its id."""
    return f"{worker_id}{_LOG}{first}"


def is_log(name: str) -> bool:
    """Whether a name is that of lines of a log; else it is a task's."""
    return _LOG in name


def token_of(name: str) -> str:
    """One word for a task or for lines of a log, part of no other: ``mv2_k3f9a2b1`` for ``k3f9a2b1.2``."""
    kind, (worker_id, _, number) = "mv", name.rpartition(".")
    if is_log(name):
        kind, worker_id = "ml", worker_id.removesuffix(_LOG.rstrip("."))
    return f"{kind}{number}_" + re.sub(r"[^A-Za-z0-9_]", "_", worker_id)


def title_of(token: str) -> str:
    """How the content of a letter begins."""
    return f"mahavishnu {token}:"
