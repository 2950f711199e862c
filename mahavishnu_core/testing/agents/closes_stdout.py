"""Closes its standard output without a result, and lives on."""

from __future__ import annotations

import os

import speech

speech.begin()
os.close(1)
speech.live_on()
