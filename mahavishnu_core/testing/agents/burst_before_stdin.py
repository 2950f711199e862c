"""Prints a megabyte of lines before it reads its prompt."""

from __future__ import annotations

import sys

import speech

speech.begin()
speech.write(b'{"type":"burst"}\n' * 60_000)
sys.stdin.buffer.read()
speech.result()
