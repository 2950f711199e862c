"""Ignores TERM, HUP and INT, and so does a child of it in a session of its own."""

from __future__ import annotations

import os
import signal

import speech

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
speech.begin()
if not speech.split_off():
    speech.text(f"family {os.getpid()}")
speech.live_on()
