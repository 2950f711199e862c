"""Gives twenty thousand results, each of them a success."""

from __future__ import annotations

import speech

speech.begin()
for _ in range(speech.size(20_000) // 1_000):
    speech.write(speech.ending() * 1_000)
