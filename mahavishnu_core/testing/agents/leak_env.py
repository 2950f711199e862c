"""Tells everything that it was given: its environment, its arguments, its parent's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import speech

speech.begin()
secrets = {"environment": dict(os.environ), "arguments": sys.argv}
secrets["parent"] = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode().split("\0")
speech.write(speech.line({"type": "secrets", **secrets}))
speech.result(json.dumps(secrets))
