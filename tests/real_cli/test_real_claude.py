"""What is the real claude's own way: its errors, its retries, its permissions, its cost."""

from __future__ import annotations

import pytest

from tests.real_cli.site import CLAUDE, execution

pytestmark = pytest.mark.real_cli

FAILURES = {
    "e400": ("api_error", "400 messages: scripted bad request"),
    "e401": ("auth", "Invalid API key"),
    "e403": ("auth", "403 scripted: not allowed"),
    "e404_model": ("api_error", "It may not exist"),
    "e429": ("rate_limited", "scripted rate limit"),
    "e429_long": ("rate_limited", "scripted rate limit"),
    "e500": ("api_error", "500 scripted internal error"),
    "e529": ("api_error", "529 Overloaded"),
    "die": ("api_error", "ECONNRESET"),
    "refusal": ("refusal", "unable to respond to this request"),
}
RECOVERIES = {
    "e429_once": "Recovered after a rate limit.",
    "e500_once": "Recovered after a server error.",
    "e529_once": "Recovered after an overload.",
    "die_once": "Recovered after a broken stream.",
    "die_stream": "Not streamed, but here.",
}


async def test_no_failure_of_the_model_counts_as_an_answer(site):
    found = await site.execute_each(CLAUDE.type, FAILURES)
    told = {script: (r.status.value, r.metadata["reason"]) for script, r in found.items()}
    assert told == {script: ("failed", reason) for script, (reason, _) in FAILURES.items()}
    for script, (_, words) in FAILURES.items():
        assert words in found[script].error
        assert found[script].exit_code == 1
    said = {script: result.output for script, result in found.items() if result.output}
    assert list(said) == ["die"]
    assert said["die"].startswith("one two three ")


async def test_a_fault_that_goes_away_does_not_spoil_the_answer(site):
    found = await site.execute_each(CLAUDE.type, RECOVERIES)
    assert {script: result.output for script, result in found.items()} == RECOVERIES
    assert all(result.is_success() for result in found.values())


async def test_an_empty_answer_is_an_answer_as_claude_says_so(site):
    result = await site.execute(CLAUDE.type, "Go", script="empty")
    assert result.is_success()
    assert not result.has_output()


async def test_a_limit_that_is_reached_is_told_with_its_end(site):
    account = {"ANTHROPIC_API_KEY": None, "CLAUDE_CODE_OAUTH_TOKEN": "not-a-token"}
    args = execution(CLAUDE.type, "Go", "--json")
    done = await site.run(*args, script="e429_unified", env=account)
    assert done.code == 1
    assert done.result.metadata["reason"] == "rate_limited"
    assert done.result.metadata["retry_at"] == 1999999999
    assert "rate_limit: the five hour limit is reached" in done.err


async def test_retries_are_told_as_they_happen(site):
    done = await site.run(*execution(CLAUDE.type, "Go"), script="e529_once")
    assert done.code == 0
    assert "retry: retry 1 of 2 in " in done.err
    assert "(529)" in done.err


async def test_a_tool_that_is_not_allowed_is_told_though_claude_goes_on(site):
    done = await site.run(*execution(CLAUDE.type, "Go", "--json"), script="bash")
    assert done.result.is_success()
    assert "permission_denied: Bash" in done.err
    logs = await site.run("workers", "logs", done.result.worker_id)
    assert "* permission_denied: Bash" in logs.out


async def test_the_cost_of_a_second_task_is_its_own(site):
    first = await site.execute(CLAUDE.type, "One", script="memory")
    second = await site.execute(first.worker_id, "Two", script="memory")
    assert first.metadata["cost_usd"] > 0
    assert second.metadata["cost_usd"] == pytest.approx(first.metadata["cost_usd"])
    assert second.metadata["usage"] == first.metadata["usage"]
