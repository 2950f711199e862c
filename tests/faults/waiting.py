"""What tests share that have many tasks run and wait for something to come to pass meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .site import PATIENCE, Site


def prompts(site: Site, texts: Iterable[str]) -> Path:
    """A file for ``workers batch`` with a task for each of these prompts."""
    path = site.work / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return path


def until(holds: Callable[[], object], every: float = 0.02, patience: float = PATIENCE) -> None:
    """Wait until something holds of which nobody is told, as of files and processes."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "it has not come to pass"
        time.sleep(every)
