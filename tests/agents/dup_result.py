"""Gives two results: first a success, then a failure."""

from __future__ import annotations

import speech

speech.begin()
speech.result("all is well")
speech.result("it is not", is_error=True)
