"""Reports success and exits with status 1."""

from __future__ import annotations

import os
import sys

import speech

speech.begin()
speech.result()
os.write(2, b"could not save the session\n")
sys.exit(1)
