"""Puts what a terminal obeys between its lines and into its error output: colours, titles, the clipboard."""

from __future__ import annotations

import os

import speech

EVIL = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\rover\b\b\u202etxet"

speech.begin()
speech.write(f"before {EVIL} after\n".encode())
os.write(2, f"error: {EVIL}\n".encode())
speech.result()
