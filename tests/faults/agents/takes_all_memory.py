"""Takes all memory that it gets, at most two gigabytes, and never gives a result."""

from __future__ import annotations

import speech

speech.begin()
taken = [bytearray(1 << 20) for _ in range(2048)]
speech.live_on()
