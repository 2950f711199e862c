"""Engines, a keeper and agents in any order of steps: what comes of it is what the model says.

Each run has its seed, which is printed. ``MAHAVISHNU_MODEL_EXAMPLES=1000`` tries that many sequences by new
seeds, ``MAHAVISHNU_SEED`` is for one that has failed.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from .model.machine import Machine

EXAMPLES, STEPS = 8, 25
"""Of each part. All together take most of a minute."""


@pytest.mark.parametrize("part", [1, 2, 3])
def test_whatever_happens_in_whatever_order_each_task_ends_as_the_model_says(part: int) -> None:
    number = _seed(part)
    print(f"again with MAHAVISHNU_SEED={number}")
    examples = int(os.environ.get("MAHAVISHNU_MODEL_EXAMPLES") or EXAMPLES)
    profile = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Machine), settings=profile)


def _seed(part: int) -> int:
    """The same each time, unless more examples than those are wanted."""
    if given := os.environ.get("MAHAVISHNU_SEED"):
        return int(given)
    return random.SystemRandom().randrange(2**32) if "MAHAVISHNU_MODEL_EXAMPLES" in os.environ else part
