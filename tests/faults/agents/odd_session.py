"""Calls its conversation and its model what ``ODD_SESSION`` says, and answers with its command line."""

from __future__ import annotations

import json
import os
import sys

name = json.loads(os.environ["ODD_SESSION"])
print(json.dumps({"type": "system", "subtype": "init", "session_id": name, "model": name}))
end = {"type": "result", "subtype": "success", "is_error": False, "result": json.dumps(sys.argv[1:])}
print(json.dumps({**end, "session_id": name}))
