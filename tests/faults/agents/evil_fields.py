"""Says what a terminal obeys in every field that anybody might show, and forges lines with all of them."""

from __future__ import annotations

import json
import os
import signal

OBEYED = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\rover\b\b\u202etxet\u2028\x00"
EVIL = f"{OBEYED}\nmahavishnu: forged"


def say(event: object, *, is_escaped: bool = True) -> None:
    os.write(1, json.dumps(event, ensure_ascii=is_escaped).encode() + b"\n")


def message(role: str, *blocks: dict[str, object]) -> None:
    """What Claude Code prints of a message."""
    say({"type": role, "message": {"role": role, "model": EVIL, "content": blocks}})


signal.alarm(60)
say({"type": "system", "subtype": "init", "session_id": EVIL, "model": EVIL, "cwd": EVIL, "tools": [EVIL]})
message("assistant", {"type": "text", "text": f"owned {OBEYED}"}, {"type": "thinking", "thinking": EVIL})
message("assistant", {"type": "tool_use", "id": EVIL, "name": EVIL, "input": {EVIL: [EVIL]}})
message("user", {"type": "tool_result", "tool_use_id": EVIL, "content": EVIL, "is_error": True})
say({"type": "system", "subtype": "api_retry", "error": EVIL, "attempt": EVIL})
say({"type": EVIL, "subtype": EVIL, "content": EVIL})
say({"type": "assistant", "message": {"content": [{"type": "text", "text": OBEYED}]}}, is_escaped=False)
os.write(1, f"no JSON {OBEYED}\n".encode())
os.write(1, b"half a character \x9b31m \xff\xfe\n")
os.write(2, f"error {EVIL}\n".encode())
denied = [{"tool_name": EVIL, "tool_use_id": EVIL, "tool_input": {"x": EVIL}}]
end = {"type": "result", "subtype": EVIL, "is_error": True, "result": OBEYED, "permission_denials": denied}
say({**end, "session_id": EVIL, "stop_reason": EVIL, "modelUsage": {EVIL: {}}, "usage": {"input_tokens": 1}})
raise SystemExit(3)
