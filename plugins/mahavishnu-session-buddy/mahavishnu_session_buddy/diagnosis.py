"""What ``doctor`` says of Session-Buddy: whether it is there, stores, finds again, and keeps what it has."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import trio

from mahavishnu_core.health import Check
from mahavishnu_core.models import utc_now
from mahavishnu_session_buddy.errors import MirrorError
from mahavishnu_session_buddy.letter import Letter
from mahavishnu_session_buddy.names import title_of
from mahavishnu_session_buddy.outbox import Outbox
from mahavishnu_session_buddy.server import Server, converse
from mahavishnu_session_buddy.target import target_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine

_SUBJECT = "session-buddy"
_RESEND = "send again what it has lost: 'mahavishnu results sync --verify'"


async def diagnose_server(engine: Engine) -> list[Check]:
    """Tries it out with a canary: one small letter, which stays there and is looked for the next time."""
    await trio.lowlevel.checkpoint()
    settings = engine.app.loaded.settings
    if not settings.session_buddy_integration:
        return [Check(_SUBJECT, "ok", "switched off by 'session_buddy_integration'")]
    outbox = Outbox.of(engine.state_dir)
    outbox.prepare()
    target = target_of(settings, engine.app.environ)
    checks: list[Check] = []
    with outbox.try_lock() as is_mine:
        if not is_mine:
            return [Check(_SUBJECT, "ok", f"{target}: another program is sending to it now")]
        try:
            await converse(target, outbox.home, partial(_try_out, outbox, str(target), checks))
        except MirrorError as error:
            checks = [Check(_SUBJECT, "warning", error.reason, error.advice)]
    if waiting := len(outbox.waiting()):
        failure = outbox.failure()
        why = f" ({failure.reason})" if failure else ""
        told = f"{waiting} to be sent{why}: 'mahavishnu results sync' does it now"
        checks.append(Check(_SUBJECT, "ok", told))
    return checks


async def _try_out(outbox: Outbox, target: str, checks: list[Check], server: Server) -> None:
    """Raises MirrorError."""
    subject = f"{target}: {server.name}"
    if not server.can_look:
        blind = f"{subject}, cannot be asked what it has: what it says is believed"
        checks.append(Check(_SUBJECT, "warning", blind))
        return
    before = outbox.canary()
    if before and await server.find([before]):
        checks.append(Check(_SUBJECT, "ok", f"{subject}, still has what was stored earlier"))
        return
    canary = _canary()
    await server.store(canary)
    is_written = await server.flush()
    if not await server.find([canary.token]):
        raise MirrorError(f"{subject}, says that it has stored, and does not find it", "look at its log")
    outbox.keep_canary(canary.token)
    checks.append(Check(_SUBJECT, "ok", f"{subject}, stores and finds"))
    if before:
        checks.append(Check(_SUBJECT, "warning", "it has lost what was stored earlier", _RESEND))
    if not is_written:
        lasting = "it has no way to be told to write to its disk, and may lose what it has when it ends"
        checks.append(Check(_SUBJECT, "warning", lasting, _RESEND))


def _canary() -> Letter:
    token = f"mvc_{secrets.token_hex(6)}x"
    content = (
        f"{title_of(token)} written by 'mahavishnu doctor' at {utc_now()}, to see whether it is found again"
    )
    return Letter(token, content, ("mahavishnu", token))
