"""Programs that misbehave as agents do: one fault each, said in the first line of each file.

They speak Claude's ``stream-json`` where they speak at all, read their prompt from standard input, and end by
themselves within a minute, so that one which slips through our hands is not there for ever.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).parent


def agent(name: str) -> tuple[str, ...]:
    """The command line of an agent: ``agent("good")``."""
    script = _HERE / f"{name}.py"
    if script.exists():
        return (sys.executable, "-E", "-s", "-S", str(script))
    return ("/bin/sh", str(_HERE / f"{name}.sh"))


def all_agents() -> list[str]:
    """The names of all agents."""
    scripts = [path for path in _HERE.iterdir() if path.suffix in {".py", ".sh"}]
    return sorted(path.stem for path in scripts if path.stem not in {"__init__", "speech"})
