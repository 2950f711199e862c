"""Puts bytes that are no UTF-8 into its events and between them."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b"\xff\xfe\x80 no text at all\n")
content = b'[{"type":"text","text":"caf\xe9 \xf0\x9f\x99"}]'
speech.write(b'{"type":"assistant","message":{"content":' + content + b"}}\n")
speech.result("done")
