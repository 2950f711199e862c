"""Programs that misbehave as agents do: one fault each, said in the first line of each file.

They play a sample of any agent (``speech``), or speak Claude's ``stream-json`` where they are given none, and
end by themselves within a minute, so that one which slips through our hands is not there for ever. They need
nothing but Python's standard library.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).parent


def agent(name: str) -> tuple[str, ...]:
    """The command line of an agent: ``agent("good")``."""
    return (sys.executable, "-E", "-s", "-S", str(_HERE / f"{name}.py"))


def all_agents() -> list[str]:
    """The names of all agents."""
    return sorted(path.stem for path in _HERE.glob("*.py") if path.stem not in {"__init__", "speech"})


def fault_of(name: str) -> str:
    """What an agent does wrong, in a sentence."""
    first = (_HERE / f"{name}.py").read_text(encoding="utf-8").partition("\n")[0]
    return first.strip('"').rstrip(".")
