"""Prints 64 MB without a newline, and no result."""

from __future__ import annotations

import speech

speech.begin()
for _ in range(speech.size(64)):
    speech.write(b"x" * 1_000_000)
