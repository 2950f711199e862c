"""Prints twenty thousand events as fast as it can."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b'{"type":"tick"}\n' * 20_000)
speech.result()
