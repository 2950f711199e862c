"""Which window it is: the first that can be opened of those that may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import attrs

from mahavishnu_debug_monitor.windows.plain import open_plain
from mahavishnu_debug_monitor.windows.window import WindowRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from mahavishnu_debug_monitor.options import MonitorOptions, WindowKind
    from mahavishnu_debug_monitor.windows.window import Window


@attrs.frozen
class Wanted:
    """What is to be shown, and where."""

    name: str
    """Of the worker."""
    command: Sequence[str]
    environ: Mapping[str, str] = attrs.field(repr=False)
    options: MonitorOptions


@asynccontextmanager
async def open_window(wanted: Wanted) -> AsyncIterator[tuple[Window, list[str]]]:
    """The window, and why those before it were refused. Raises WindowRefused where none can be opened."""
    refusals: list[str] = []
    async with AsyncExitStack() as stack:
        for kind in kinds_of(wanted.options, wanted.environ):
            try:
                window = await stack.enter_async_context(_opener(kind, wanted))
            except WindowRefused as error:
                refusals.append(f"{_NAMES[kind]}: {error}")
            else:
                yield window, refusals
                return
    raise WindowRefused("; ".join(refusals) or f"{_NAMES[wanted.options.window]} is not here")


_NAMES: dict[WindowKind, str] = {"iterm2": "iTerm2", "tmux": "tmux", "none": "no window"}
"""Best first."""


def kinds_of(options: MonitorOptions, environ: Mapping[str, str]) -> Sequence[WindowKind]:
    """The windows that are to be had, best first: of one that is asked for alone, at most that."""
    from mahavishnu_debug_monitor.windows.iterm2 import is_there
    from mahavishnu_debug_monitor.windows.tmux import find_tmux

    is_here = {"iterm2": is_there(environ), "tmux": find_tmux(environ) is not None, "none": True}
    return [kind for kind in _NAMES if is_here[kind] and options.window in {"auto", kind}]


def _opener(kind: WindowKind, wanted: Wanted) -> AbstractAsyncContextManager[Window]:
    match kind:
        case "iterm2":
            from mahavishnu_debug_monitor.windows.iterm2 import open_iterm2

            return open_iterm2(wanted.options.profile, wanted.command, wanted.environ)
        case "tmux":
            from mahavishnu_debug_monitor.windows.tmux import open_tmux

            return open_tmux(wanted.name, wanted.command, wanted.environ)
    return open_plain(wanted.command, wanted.environ)
