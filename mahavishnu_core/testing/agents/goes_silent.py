"""Begins well and then says nothing more."""

from __future__ import annotations

import speech

speech.begin()
speech.live_on()
