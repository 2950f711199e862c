"""Prints an event now and then, and never a result."""

from __future__ import annotations

import time

import speech

speech.begin()
while True:
    speech.write(b'{"type":"tick"}\n')
    time.sleep(0.05)
