"""Begins with a byte order mark and ends its lines as Windows does."""

from __future__ import annotations

import signal

import speech

signal.alarm(speech.SECONDS)
speech.write(b"\xef\xbb\xbf" + (speech.opening() + speech.ending()).replace(b"\n", b"\r\n"))
