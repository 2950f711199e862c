"""What is the real qwen's own way: it calls every failure of the model a success."""

from __future__ import annotations

import pytest

from tests.real_cli.site import QWEN

pytestmark = pytest.mark.real_cli

QUICK = {
    "e400": ("api_error", "400 messages: scripted bad request"),
    "e401": ("auth", "401 invalid x-api-key"),
    "e403": ("auth", "403 scripted: not allowed"),
    "e404_model": ("api_error", "404 model: scripted-qwen"),
    "die": ("api_error", "terminated (cause: read ECONNRESET)"),
    "empty": ("api_error", "Model stream ended with empty response text."),
    "refusal": ("api_error", "Model stream ended with empty response text."),
}
SLOW = {
    "e500": ("api_error", "500 scripted internal error"),
    "e529": ("api_error", "529 Overloaded"),
}
"""Tried again in silence for about 100 seconds: no variable shortens it."""
RECOVERIES = {
    "e429_once": "Recovered after a rate limit.",
    "e500_once": "Recovered after a server error.",
}


async def test_no_failure_of_the_model_counts_as_an_answer(site):
    failures = {**SLOW, **QUICK}
    found = await site.execute_each(QWEN.type, failures)
    told = {script: (r.status.value, r.metadata["reason"], r.error) for script, r in found.items()}
    assert told == {script: ("failed", *facts) for script, facts in failures.items()}
    assert {result.exit_code for result in found.values()} == {0}
    said = {script: result.output for script, result in found.items() if result.output}
    assert said == {"die": "one two three four five six seven eight nine ten "}


async def test_a_rate_limit_that_qwen_waits_for_in_silence_ends_at_the_deadline(site):
    result = await site.execute(QWEN.type, "Go", "-T", "30", script="e429_long")
    assert (result.status.value, result.metadata["reason"]) == ("timeout", "wall")
    assert result.output is None


async def test_a_fault_that_goes_away_does_not_spoil_the_answer(site):
    found = await site.execute_each(QWEN.type, RECOVERIES)
    assert {script: result.output for script, result in found.items()} == RECOVERIES
    assert all(result.is_success() for result in found.values())
