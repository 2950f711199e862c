"""What ``doctor`` says of debug monitors: in which window they would open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from mahavishnu_core.health import Check
from mahavishnu_core.settings import read_options
from mahavishnu_debug_monitor.options import MonitorOptions
from mahavishnu_debug_monitor.windows.choice import kinds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mahavishnu_core import Engine, WorkerType

_WINDOWS = {"iterm2": "a window of iTerm2", "tmux": "tmux", "none": "no window"}


async def diagnose_types(engine: Engine, kinds: Sequence[WorkerType]) -> list[Check]:
    """One line for each type."""
    await trio.lowlevel.checkpoint()
    return [_diagnose(engine, kind) for kind in kinds]


def _diagnose(engine: Engine, kind: WorkerType) -> Check:
    subject, options = f"type {kind.name}", read_options(kind, MonitorOptions)
    found = kinds_of(options, engine.app.environ)
    if not found:
        missing = f"{_WINDOWS[options.window]} is not here"
        return Check(subject, "warning", missing, "install it, or set 'window: auto' in the type's options")
    if found[0] == "none" and options.window == "auto":
        missing = "neither iTerm2 nor tmux is here: it keeps lines and shows none"
        return Check(subject, "warning", missing, "install tmux")
    return Check(subject, "ok", f"in {_WINDOWS[found[0]]}")
