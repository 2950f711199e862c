"""Mixes banners, scalars, arrays and text glued to JSON into its events."""

from __future__ import annotations

import speech

NO_EVENTS = (
    b"42",
    b"null",
    b'"result"',
    b"[1, 2]",
    b"}{",
    b"",
    b'WARN: {"type":"result"}',
)

speech.write(b"\xef\xbb\xbfWelcome to the agent!\r\n")
speech.begin()
for words in NO_EVENTS:
    speech.write(words + b"\n")
speech.write(b"[" + speech.ending(is_error=True).partition(b"\n")[0] + b"]\n")
speech.result()
