"""Says twenty thousand texts of a few characters, none of which fits into a byte."""

from __future__ import annotations

import json

import speech

MESSAGE = {"role": "assistant", "content": [{"type": "text", "text": "世界" * 8}]}
LINE = json.dumps({"type": "assistant", "message": MESSAGE}, ensure_ascii=False).encode() + b"\n"

speech.begin()
for _ in range(speech.size(20_000) // 1_000):
    speech.write(LINE * 1_000)
speech.result()
