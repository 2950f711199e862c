"""How the database is: damaged or sound, and whether a reader keeps its write-ahead log from an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.errors import StorageError
from mahavishnu_core.health import Check
from mahavishnu_core.models import Backlog
from mahavishnu_sqlite.store import FILE_NAME, store_of

if TYPE_CHECKING:
    from mahavishnu_core import Engine

_STORAGE = "sqlite"
_MIB = 2**20
_MUCH = 256 * _MIB
_ADVICE = f"close what reads {FILE_NAME}: the log is emptied as the next results come"


async def tell_backlog(engine: Engine) -> list[Backlog]:
    """Nothing ever waits here; but a log that only grows is a fault, and grows with each result."""
    grown = await _grown_log(engine)
    return [Backlog(_STORAGE, 0, grown, _ADVICE, is_failing=True)] if grown else []


async def diagnose_database(engine: Engine) -> list[Check]:
    try:
        await (await store_of(engine)).check()
    except StorageError as error:
        checks = [Check(_STORAGE, "problem", str(error))]
    else:
        checks = [Check(_STORAGE, "ok", f"{engine.state_dir / FILE_NAME}: sound")]
    grown = await _grown_log(engine)
    return [*checks, Check(_STORAGE, "warning", grown, _ADVICE)] if grown else checks


async def _grown_log(engine: Engine) -> str:
    """What to say of the log where it has grown, else nothing: only its file is looked at."""
    try:
        size = (await trio.Path(engine.state_dir, f"{FILE_NAME}-wal").stat()).st_size
    except FileNotFoundError:
        return ""
    if size <= _MUCH:
        return ""
    return f"its write-ahead log has {size // _MIB} MiB, since a program reads the database and does not end"
