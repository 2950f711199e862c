"""Prints twenty thousand events as fast as it can."""

from __future__ import annotations

import speech

speech.begin()
for _ in range(speech.size(20_000) // 1_000):
    speech.write(b'{"type":"tick"}\n' * 1_000)
speech.result()
