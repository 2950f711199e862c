"""Stops itself, as Ctrl-Z would."""

from __future__ import annotations

import os
import signal
import time

import speech

speech.begin()
stopped = os.getpid()
if not os.fork():  # a stopped process hears no alarm: somebody else has to end it
    time.sleep(speech.SECONDS)
    os.kill(stopped, signal.SIGKILL)
os.kill(stopped, signal.SIGSTOP)
speech.result("gone on")
