"""Closes its standard input before it has read its prompt."""

from __future__ import annotations

import os

import speech

os.close(0)
speech.begin()
speech.result("whatever it was")
