"""Leaves a daemon, forked twice, which is nobody's child and holds none of its files."""

from __future__ import annotations

import os
import signal

import speech

speech.begin()
if speech.split_off():
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.alarm(speech.SECONDS)
    speech.live_on()
os.wait()
speech.result("done")
