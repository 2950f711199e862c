"""Starts the stdio buddy by the path of this file: ``python stdio_server.py STATE [--hang PLACE] ...``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).parents[3]
    sys.path[0] = str(root)  # it was the directory of this file, whose modules belong to a package
    package = ".".join(Path(__file__).parent.relative_to(root).parts)
    sys.exit(import_module(f"{package}.stdio_buddy").main(sys.argv[1:]))
