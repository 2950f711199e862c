"""Starts thirty processes, half of them in sessions of their own, and waits for none."""

from __future__ import annotations

import os
import signal

import speech

for number in range(speech.size(30)):
    if not os.fork():
        if number % 2:
            os.setsid()
        signal.alarm(speech.SECONDS)
        speech.live_on()
speech.begin()
speech.live_on()
