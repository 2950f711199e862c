"""Does nothing wrong: of Claude's, echoes its prompt as its result."""

from __future__ import annotations

import sys

import speech

speech.begin()
prompt = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
speech.result(prompt)
