"""What still waits to be sent, and why: from the files alone, asked at the end of each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from mahavishnu_core.models import Backlog
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.target import Target, target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine

STORAGE = "session-buddy"


async def tell_backlog(engine: Engine) -> Sequence[Backlog]:
    """What still waits."""
    await trio.lowlevel.checkpoint()
    target = target_of(engine.app.loaded.settings, engine.app.environ)
    return [backlog_of(Outbox.of(engine.state_dir), target)]


def backlog_of(outbox: Outbox, target: Target) -> Backlog:
    """What still waits, and why the last attempt failed, if it did."""
    count, failure = len(outbox.waiting()), outbox.failure()
    if failure is None:
        return Backlog(STORAGE, count)
    return Backlog(STORAGE, count, failure.reason, failure.advice, is_failing=is_known(outbox, target))


def is_known(outbox: Outbox, target: Target) -> bool:
    """Whether there should be a server; else we only look whether there is one."""
    return target.is_chosen or outbox.has_sent()
