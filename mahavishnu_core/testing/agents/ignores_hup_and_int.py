"""Ignores every signal that asks politely."""

from __future__ import annotations

import signal

import speech

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
speech.begin()
speech.live_on()
