"""Ignores TERM, HUP and INT, and so does a child of it in a session of its own."""

from __future__ import annotations

import signal

import speech

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
speech.begin()
speech.split_off()
speech.live_on()
