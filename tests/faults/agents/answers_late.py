"""Waits for a line from ``MAHAVISHNU_AGENT_GATE``, and then gives a long answer."""

from __future__ import annotations

import os
from pathlib import Path

import speech

speech.begin()
with Path(os.environ["MAHAVISHNU_AGENT_GATE"]).open() as gate:
    gate.readline()
speech.result("x" * speech.size(400_000))
