"""Writes a byte now and then, and never the end of a line."""

from __future__ import annotations

import signal
import time

import speech

signal.alarm(speech.SECONDS)
while True:
    speech.write(b" ")
    time.sleep(0.05)
