"""The soak as a test: four minutes, or as many as ``MAHAVISHNU_SOAK_MINUTES`` says."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from .driver import Plan, soak


@pytest.mark.soak
@pytest.mark.whole
async def test_nothing_is_lost_and_nothing_is_left_after_minutes_of_trouble(tmp_path: Path) -> None:
    seed = int(os.environ.get("MAHAVISHNU_SOAK_SEED") or secrets.randbelow(10**6))
    minutes = float(os.environ.get("MAHAVISHNU_SOAK_MINUTES") or 4)
    report = await soak(tmp_path, Plan(seed, minutes))
    print(*report.lines, sep="\n")
    assert report.faults == [], f"seed {seed}"
