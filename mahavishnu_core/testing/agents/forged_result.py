"""Quotes its result in a text and on standard error, and gives none."""

from __future__ import annotations

import os

import speech

speech.begin()
speech.write(b"the agent would say: " + speech.ending())
os.write(2, speech.ending())
