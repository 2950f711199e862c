"""A host with the core itself and just these plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import builtin
from mahavishnu_core.host import Host, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def host_with_core(plugins: Mapping[str, object]) -> Host:
    """The core is asked first, as where plugins are installed."""
    host = host_of({})
    host.add_own("core", builtin)
    for name, plugin in plugins.items():
        host.add(name, plugin)
    return host
