"""Is at a limit of its vendor, which it calls a success, with exit status 0; as Claude Code does."""

from __future__ import annotations

import json
import os

import speech

RESETS_AT = int(os.environ.get("MAHAVISHNU_AGENT_RESETS_AT", "1999999999"))
LIMIT = {"status": "rejected", "resetsAt": RESETS_AT, "rateLimitType": "five_hour"}

speech.begin()
speech.write(speech.line({"type": "rate_limit_event", "rate_limit_info": LIMIT}))
told = json.loads(speech.ending("You've hit your session limit", is_error=True))
speech.write(speech.line({**told, "api_error_status": 429}))
