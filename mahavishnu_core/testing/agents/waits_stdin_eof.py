"""Says nothing before it has read its standard input to the end."""

from __future__ import annotations

import signal
import sys

import speech

signal.alarm(speech.SECONDS)
sys.stdin.buffer.read()
speech.begin()
speech.result()
