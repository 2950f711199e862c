"""Ends without a newline after its last line."""

from __future__ import annotations

import signal

import speech

signal.alarm(speech.SECONDS)
speech.write((speech.opening() + speech.ending()).rstrip(b"\n"))
