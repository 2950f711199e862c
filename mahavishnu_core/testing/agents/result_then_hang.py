"""Gives its result and does not end."""

from __future__ import annotations

import speech

speech.begin()
speech.result()
speech.live_on()
