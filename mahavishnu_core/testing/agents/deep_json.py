"""Prints an object that is nested a hundred thousand levels deep."""

from __future__ import annotations

import speech

speech.begin()
speech.write(b'{"type":"deep","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
speech.result()
