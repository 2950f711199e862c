"""Asks, as Claude Code does, to be allowed a tool, and waits for an answer."""

from __future__ import annotations

import speech

QUESTION = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "make"}}

speech.begin()
speech.write(speech.line({"type": "control_request", "request_id": "1", "request": QUESTION}))
speech.live_on()
