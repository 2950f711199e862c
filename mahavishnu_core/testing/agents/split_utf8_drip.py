"""Says characters of several bytes, and some that look like the end of a line, one byte at a time."""

from __future__ import annotations

import json
import time

import speech

speech.begin()
words = json.dumps({"type": "drip", "words": "grün 世界 👋 \u2028\u2029\u0085 and on"}, ensure_ascii=False)
for byte in words.encode() + b"\n":
    speech.write(bytes([byte]))
    time.sleep(0.002)
speech.result()
