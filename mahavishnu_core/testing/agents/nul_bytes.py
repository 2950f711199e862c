"""Puts NUL bytes between its events and escaped ones into them."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b"\0\0\0\n" + b'{"type":"nul","text":"a\\u0000b"}\n')
speech.result()
