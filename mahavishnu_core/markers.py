"""The two decorators of the plugin system, apart so that importing them costs next to nothing."""

from __future__ import annotations

import pluggy

HOOK_API = 1
"""Version of the hooks. A plugin says which it was written for: ``HOOK_API = 1`` in its module."""

hookspec = pluggy.HookspecMarker("mahavishnu")
hookimpl = pluggy.HookimplMarker("mahavishnu")
