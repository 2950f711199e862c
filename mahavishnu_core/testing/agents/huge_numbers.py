"""Prints numbers that fit no machine: 5000 digits, an infinity, none at all."""

from __future__ import annotations

import speech

speech.begin()
for number in (b"9" * 5_000, b"1e400", b"-1e400", b"NaN", b"Infinity", b"1180591620717411303424"):
    speech.write(b'{"type":"number","value":' + number + b"}\n")
speech.result()
