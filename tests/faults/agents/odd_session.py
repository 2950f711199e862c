"""Calls its conversation what ``ODD_SESSION`` says, its model what ``ODD_MODEL`` says or the same.

It answers with its command line.
"""

from __future__ import annotations

import json
import os
import sys

name = json.loads(os.environ["ODD_SESSION"])
model = json.loads(os.environ.get("ODD_MODEL", os.environ["ODD_SESSION"]))
print(json.dumps({"type": "system", "subtype": "init", "session_id": name, "model": model}))
end = {"type": "result", "subtype": "success", "is_error": False, "result": json.dumps(sys.argv[1:])}
print(json.dumps({**end, "session_id": name}))
