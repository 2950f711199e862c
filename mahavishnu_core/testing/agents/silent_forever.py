"""Says nothing, for ever."""

from __future__ import annotations

import signal

import speech

signal.alarm(speech.SECONDS)
speech.live_on()
