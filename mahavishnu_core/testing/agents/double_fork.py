"""Leaves a daemon, forked twice, which is nobody's child and holds none of its files."""

from __future__ import annotations

import os
import signal

import speech

speech.begin()
if speech.split_off():
    if os.fork():
        os._exit(0)
    speech.hide()
    signal.alarm(speech.SECONDS)
    speech.live_on()
os.wait()
speech.result()
