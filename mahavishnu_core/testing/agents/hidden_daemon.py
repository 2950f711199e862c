"""Leaves a daemon that has cleared its environment and is in a session of its own."""

from __future__ import annotations

import os

import speech

speech.begin()
if not os.fork():
    os.setsid()
    speech.hide()
    os.execve("/bin/sleep", ["sleep", str(speech.SECONDS)], {})
speech.result()
