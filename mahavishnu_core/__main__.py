"""``python -m mahavishnu_core plugins``: which plugins are loaded or refused, for when nothing else runs.

It needs neither the command line, which is itself a distribution that may be broken, nor any plugin.
"""

from __future__ import annotations

import os
import sys
import traceback

from mahavishnu_core.host import load_plugins


def main(arguments: list[str]) -> int:
    if arguments[:1] != ["plugins"] or not {"-v"}.issuperset(arguments[1:]):
        sys.stderr.write("usage: python -m mahavishnu_core plugins [-v]\n")
        return 2
    host = load_plugins(os.environ)
    for plugin in host.loaded:
        sys.stdout.write(f"{plugin.name} ({plugin.source}) loaded: {' '.join(plugin.hooks)}\n")
    for refused in host.refused:
        sys.stdout.write(f"{refused}\n")
        if refused.cause is not None and "-v" in arguments:
            sys.stdout.write("".join(traceback.format_exception(refused.cause)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
