"""Puts terminal control sequences into all that it says: colours, titles, the clipboard, backspaces."""

from __future__ import annotations

import os

import speech

EVIL = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\rover\b\b\u202etxet"

speech.begin()
speech.text(f"before {EVIL} after")
os.write(2, f"error: {EVIL}\n".encode())
speech.result(f"done {EVIL}")
