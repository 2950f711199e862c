"""Prints a line of 20 MB between its events, longer than any that is read."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b'{"type":"big","data":"')
for _ in range(speech.size(20)):
    speech.write(b"x" * 1_000_000)
speech.write(b'"}\n')
speech.result()
