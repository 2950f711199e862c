"""The core of Mahavishnu. These are its public names; each is loaded when it is first used.

Loading on first use keeps the start of the command line fast: a plugin that needs only ``hookimpl``
pays for nothing else. The keeper runs from this package with the standard library alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mahavishnu_core import (
        app,
        catalog,
        damage,
        debug_log,
        errors,
        events,
        exits,
        health,
        host,
        models,
        nesting,
        output,
        pieces,
        places,
        report,
        settings,
        standing,
        state,
        stream,
        tally,
        templates,
        testing,
        text,
        verdict,
    )
    from mahavishnu_core.adapter import OrchestratorAdapter, WorkerOrchestratorAdapter
    from mahavishnu_core.hookspecs import CommandLine, Engine, Parser, Run, ToolServer
    from mahavishnu_core.manager import WorkerManager
    from mahavishnu_core.markers import HOOK_API, hookimpl
    from mahavishnu_core.models import Command, Exit, Task, Worker, WorkerResult, WorkerStatus, WorkerType

__version__ = "0.1.0"

__all__ = [
    "HOOK_API",
    "Command",
    "CommandLine",
    "Engine",
    "Exit",
    "OrchestratorAdapter",
    "Parser",
    "Run",
    "Task",
    "ToolServer",
    "Worker",
    "WorkerManager",
    "WorkerOrchestratorAdapter",
    "WorkerResult",
    "WorkerStatus",
    "WorkerType",
    "app",
    "catalog",
    "damage",
    "debug_log",
    "errors",
    "events",
    "exits",
    "health",
    "hookimpl",
    "host",
    "models",
    "nesting",
    "output",
    "pieces",
    "places",
    "report",
    "settings",
    "standing",
    "state",
    "stream",
    "tally",
    "templates",
    "testing",
    "text",
    "verdict",
]

_HOME = {
    "Command": "models",
    "CommandLine": "hookspecs",
    "Engine": "hookspecs",
    "Exit": "models",
    "HOOK_API": "markers",
    "OrchestratorAdapter": "adapter",
    "Parser": "hookspecs",
    "Run": "hookspecs",
    "Task": "models",
    "ToolServer": "hookspecs",
    "Worker": "models",
    "WorkerManager": "manager",
    "WorkerOrchestratorAdapter": "adapter",
    "WorkerResult": "models",
    "WorkerStatus": "models",
    "WorkerType": "models",
    "hookimpl": "markers",
}
_MODULES = frozenset(__all__) - frozenset(_HOME)
"""Public modules; app, catalog, damage, exits, health, host, nesting, output, pieces, report, settings,
standing, state, tally and verdict are for frontends."""


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
