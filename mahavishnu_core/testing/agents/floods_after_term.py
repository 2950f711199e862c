"""Answers TERM with output, as much as it can, and a result after it."""

from __future__ import annotations

import signal

import speech


def flood(*_: object) -> None:
    for _number in range(2_000):
        speech.write(b"one more thing: " + b"y" * 4_080 + b"\n")
    speech.result("too late")


signal.signal(signal.SIGTERM, flood)
speech.begin()
speech.live_on()
