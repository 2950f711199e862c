"""Ends well, while a child of it goes on holding its standard output."""

from __future__ import annotations

import os
import signal

import speech

speech.begin()
for _ in range(speech.size(1)):
    if not os.fork():
        signal.alarm(speech.SECONDS)
        speech.live_on()
speech.result()
