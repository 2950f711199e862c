"""Gives two results: of Claude's, first a success and then a failure."""

from __future__ import annotations

import speech

speech.begin()
speech.result("all is well")
speech.result("it is not", is_error=True)
