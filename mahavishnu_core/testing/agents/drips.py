"""Says everything right, byte by byte."""

from __future__ import annotations

import signal

import speech

signal.alarm(speech.SECONDS)
for byte in speech.opening() + speech.ending():
    speech.write(bytes([byte]))
