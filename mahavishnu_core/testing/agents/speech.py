"""What the agents share: an end in any case, and what they say.

That is a sample where ``MAHAVISHNU_SAMPLE`` names one: ``<it>.opening`` holds its output up to its end, and
``<it>.ending`` the lines with which the agent says that it has ended. Else it is Claude's ``stream-json``.

How much of its fault an agent has (megabytes, lines, processes) may be said by ``MAHAVISHNU_AGENT_SIZE``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

SECONDS = 60


def begin() -> None:
    """Say that we are up. Whatever happens, this process is gone after a minute."""
    signal.alarm(SECONDS)
    write(opening())


def opening() -> bytes:
    """All that comes before the end."""
    told = _sample("opening")
    if told is not None:
        return told
    words = [{"type": "text", "text": "thinking about it"}]
    up = {"type": "system", "subtype": "init", "session_id": session_id(), "model": "misbehaviour-1"}
    return line(up) + line({"type": "assistant", "message": {"role": "assistant", "content": words}})


def ending(words: str = "done", *, is_error: bool = False) -> bytes:
    """The end that an agent gives its task; a sample's is what it is."""
    told = _sample("ending")
    if told is not None:
        return told
    usage = {"input_tokens": 10, "output_tokens": 5}
    says = {"type": "result", "subtype": "success", "is_error": is_error, "result": words, "num_turns": 1}
    return line({**says, "usage": usage, "total_cost_usd": 0.001, "session_id": session_id()})


def result(words: str = "done", *, is_error: bool = False) -> None:
    write(ending(words, is_error=is_error))


def session_id() -> str:
    """The conversation that we were told to keep."""
    words = sys.argv
    for flag in ("--session-id", "--resume"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return "00000000-0000-4000-8000-000000000000"


def line(event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def write(data: bytes) -> None:
    """Past every buffer: what is said is in the file before anything else happens."""
    while data:
        data = data[os.write(1, data) :]


def size(usual: int) -> int:
    """How much of its fault an agent is to have."""
    return int(os.environ.get("MAHAVISHNU_AGENT_SIZE", usual))


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


def hide() -> None:
    """Let go of the standard files, as a daemon does."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _sample(part: str) -> bytes | None:
    path = os.environ.get("MAHAVISHNU_SAMPLE")
    return None if path is None else Path(f"{path}.{part}").read_bytes()
