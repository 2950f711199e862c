"""Dies with nothing said but a line on standard error."""

from __future__ import annotations

import os
import sys

os.write(2, b"fatal: no such model: sonata-9\n")
sys.exit(3)
