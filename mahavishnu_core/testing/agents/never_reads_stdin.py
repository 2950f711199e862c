"""Leaves its prompt unread."""

from __future__ import annotations

import speech

speech.begin()
speech.result("whatever it was")
