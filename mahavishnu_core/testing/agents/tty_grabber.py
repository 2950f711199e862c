"""Writes to the terminal past its standard files, if it has one."""

from __future__ import annotations

import os

import speech

speech.begin()
try:
    os.write(os.open("/dev/tty", os.O_WRONLY), b"over all of it\n")
except OSError:
    speech.write(b"no terminal\n")
speech.result()
