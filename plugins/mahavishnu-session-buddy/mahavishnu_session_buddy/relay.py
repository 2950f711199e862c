"""The relay: a small process that sends what waits, so that no engine has to.

An engine starts it and holds one end of a pipe, the relay the other. It sends what waits, looks again every
few seconds, and when the engine is gone, however it went, sends the rest and ends. Until there is something
to send, and somebody who listens, it loads next to nothing.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from pathlib import Path

from mahavishnu_core.text import one_line
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.target import address_of, nothing_listens

_GATHER_SECONDS = 5.0
_IDLE_SECONDS = 30.0
_LISTENER_PATIENCE = 5.0
_NICENESS = 10


def main() -> None:
    """``relay STATE_DIR CONFIG_DIR URL``; the last two may be empty."""
    state_dir, config_dir, url = sys.argv[1:]
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what our engine's caller has open is not ours to keep
    os.nice(_NICENESS)
    outbox = Outbox.of(Path(state_dir))
    used_at, has_left = time.monotonic(), False
    while True:
        if outbox.waiting():
            if not _send(outbox, url, Path(config_dir) if config_dir else None):
                return
            used_at = time.monotonic()
        if has_left or time.monotonic() > used_at + _IDLE_SECONDS:
            return
        has_left = _engine_has_left(_GATHER_SECONDS)


def _engine_has_left(patience: float) -> bool:
    """Whether the other end of the pipe is closed; nobody ever writes to it."""
    return bool(select.select([0], [], [], patience)[0])


def _send(outbox: Outbox, url: str, config_dir: Path | None) -> bool:
    """Whether it went well, as far as it was ours to do."""
    with outbox.turn() as is_ours:
        if not is_ours or not outbox.waiting():
            return True
        failure = outbox.failure()
        is_due = failure is None or not failure.seconds_left
        return is_due and _listens(outbox, url) and _deliver(outbox, config_dir)


def _listens(outbox: Outbox, url: str) -> bool:
    """Whether there is somebody; noted where not. A server without a URL is started by us."""
    if not url:
        return True
    try:
        socket.create_connection(address_of(url), _LISTENER_PATIENCE).close()
    except (OSError, ValueError):
        outbox.note_failure(*nothing_listens(url))
        return False
    return True


def _deliver(outbox: Outbox, config_dir: Path | None) -> bool:
    """Whether all has arrived."""
    import trio

    from mahavishnu_core.app import load_app
    from mahavishnu_core.errors import MahavishnuError
    from mahavishnu_session_buddy.delivery import deliver

    try:
        app = load_app(config_dir=config_dir)
        app.read()
    except MahavishnuError as error:
        outbox.note_failure(one_line(str(error)), "mend it, then 'mahavishnu results sync'")
        return False
    if not app.loaded.settings.session_buddy_integration:
        outbox.note_failure("it was switched off", "'mahavishnu config set session_buddy_integration true'")
        return False
    return trio.run(deliver, app)


if __name__ == "__main__":
    main()
