"""Puts lines that are no UTF-8 between its events."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b"\xff\xfe\x80 no text at all\n")
speech.write(b'{"type":"caf\xe9 \xf0\x9f\x99"}\n')
speech.result()
