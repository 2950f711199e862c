"""What the agents share: an end in any case, and Claude's way to speak."""

from __future__ import annotations

import json
import os
import signal
import sys

SECONDS = 60


def begin() -> None:
    """Say that we are up. Whatever happens, this process is gone after a minute."""
    signal.alarm(SECONDS)
    say({"type": "system", "subtype": "init", "session_id": session_id(), "model": "misbehaviour-1"})


def session_id() -> str:
    """The conversation that we were told to keep."""
    words = sys.argv
    for flag in ("--session-id", "--resume"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return "00000000-0000-4000-8000-000000000000"


def say(event: object) -> None:
    write(json.dumps(event).encode() + b"\n")


def write(data: bytes) -> None:
    """Past every buffer: what is said is in the file before anything else happens."""
    while data:
        data = data[os.write(1, data) :]


def text(words: str) -> None:
    block = {"type": "text", "text": words}
    say({"type": "assistant", "message": {"role": "assistant", "content": [block]}})


def result(words: str, *, is_error: bool = False) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5}
    says = {"type": "result", "subtype": "success", "is_error": is_error, "result": words, "num_turns": 1}
    say({**says, "usage": usage, "total_cost_usd": 0.001, "session_id": session_id()})


def live_on() -> None:
    """Until the alarm comes, or somebody ends us."""
    while True:
        signal.pause()


def split_off() -> bool:
    """Fork; True in the child, which has a session and an alarm of its own."""
    if os.fork():
        return False
    os.setsid()
    signal.alarm(SECONDS)
    return True
