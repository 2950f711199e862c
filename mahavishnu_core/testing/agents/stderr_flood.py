"""Writes 8 MB to standard error before it does its work."""

from __future__ import annotations

import os

import speech

speech.begin()
for _ in range(speech.size(8)):
    os.write(2, (b"warning: " + b"x" * 54 + b"\n") * 16_384)
speech.result()
