"""What an engine writes into the debug log of itself: its beginning and end, its plugins, what it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import mahavishnu_core
from mahavishnu_core.debug_log import OPENED, DebugLog, Entry
from mahavishnu_core.events import to_dict
from mahavishnu_core.records import this_engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_core.engine import Engine
    from mahavishnu_core.events import TaskEvent
    from mahavishnu_core.host import Loaded, Refused
    from mahavishnu_core.models import JSON

_NAMES = frozenset({"type", "worker_id", "task_id", "partial"})
"""Fields of an event that the log has under names of its own, or that are the same in all its lines."""


@contextmanager
def debugging(engine: Engine) -> Iterator[None]:
    """Meanwhile the engine writes into the debug log, where the app is to be debugged."""
    if not engine.app.debug:
        yield
        return
    log = DebugLog.open(engine.state_dir, engine.app.secrets)
    host = engine.app.host
    facts: dict[str, JSON] = {
        "version": mahavishnu_core.__version__,
        "max_concurrent": engine.max_concurrent,
        "process": dict(this_engine(os.getpid())),
    }
    log.write(Entry(OPENED, facts=facts), *map(_of_loaded, host.loaded), *map(_of_refused, host.refused))
    engine.log = log
    host.on_refused = lambda refused: log.write(_of_refused(refused))
    try:
        yield
    finally:
        host.on_refused = None
        log.write(Entry("engine_closed"))


def entries_of(items: Iterable[TaskEvent], plugin: str) -> Iterator[Entry]:
    """Events as entries. Pieces of texts that follow whole are left out: a secret could lie across two."""
    for item in items:
        if not getattr(item.event, "partial", False):
            fields = to_dict(item)
            facts: dict[str, JSON] = {name: value for name, value in fields.items() if name not in _NAMES}
            yield Entry(cast("str", fields["type"]), item.worker_id, item.task_id, plugin, facts)


def _of_loaded(loaded: Loaded) -> Entry:
    return Entry("plugin_loaded", plugin=loaded.name, facts={"source": loaded.source})


def _of_refused(refused: Refused) -> Entry:
    what = "plugin_refused" if refused.hook is None else "hook_cut_off"
    facts: dict[str, JSON] = {"source": refused.source, "hook": refused.hook, "reason": refused.reason}
    return Entry(what, plugin=refused.name, facts=facts)
