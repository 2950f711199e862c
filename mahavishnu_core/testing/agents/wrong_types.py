"""Prints objects whose fields are of absurd types, and half characters."""

from __future__ import annotations

import speech

ABSURD = (b"null", b"[]", b"{}", b"0", b"true", b'""', b'"\\ud800"', b"[[[]]]", b'{"type":{}}')
FIELDS = (b"type", b"subtype", b"message", b"session_id", b"result", b"usage", b"error", b"content", b"item")

speech.begin()
for value in ABSURD:
    for field in FIELDS:
        speech.write(b'{"type":"absurd","' + field + b'":' + value + b"}\n")
speech.result()
