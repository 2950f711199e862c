"""Prints a line of 20 MB between its events, longer than any that is read."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b'{"type":"big","data":"' + b"x" * 20_000_000 + b'"}\n')
speech.result()
