"""What ``doctor`` says of Session-Buddy."""

from __future__ import annotations

import pytest

from .faults import EVERYTHING, Pretence, Says, Status
from .mirroring import UNCLOSED

pytestmark = [pytest.mark.filterwarnings(UNCLOSED), pytest.mark.thorough]


async def diagnose(mirror):
    """Each check as grade, detail and advice."""
    async with mirror.manager() as manager:
        checks = await manager.diagnose([])
    return [
        (check.grade, check.detail.replace(mirror.buddy.url, "URL"), check.advice)
        for check in checks
        if check.subject == "session-buddy"
    ]


async def test_a_canary_is_stored_and_found(mirror):
    assert await diagnose(mirror) == [("ok", "URL: session-buddy 0.23.0, stores and finds", "")]
    (content,) = mirror.buddy.memory.contents
    assert content.startswith("mahavishnu mvc_")
    assert mirror.buddy.memory.log == []


async def test_a_canary_that_is_still_there_is_enough(mirror):
    await diagnose(mirror)
    assert await diagnose(mirror) == [
        ("ok", "URL: session-buddy 0.23.0, still has what was stored earlier", "")
    ]
    assert len(mirror.buddy.memory.contents) == 1


async def test_a_canary_that_is_gone_is_a_warning_and_there_is_a_new_one(mirror):
    await diagnose(mirror)
    mirror.buddy.memory.forget("mvc_")
    assert await diagnose(mirror) == [
        ("ok", "URL: session-buddy 0.23.0, stores and finds", ""),
        (
            "warning",
            "it has lost what was stored earlier",
            "send again what it has lost: 'mahavishnu results sync --verify'",
        ),
    ]
    assert len(await diagnose(mirror)) == 1


async def test_a_server_that_pretends_is_found_out(mirror):
    mirror.buddy.faults.set("store_reflection", Pretence())
    ((grade, detail, _),) = await diagnose(mirror)
    assert grade == "warning"
    assert detail == "URL: session-buddy 0.23.0, says that it has stored, and does not find it"


async def test_a_server_that_refuses_is_quoted(mirror):
    mirror.buddy.faults.set("store_reflection", Says("❌ no"))
    assert [(grade, detail) for grade, detail, _ in await diagnose(mirror)] == [
        ("warning", "it answered '❌ no'")
    ]


async def test_a_server_that_cannot_flush_is_a_warning(mirror):
    del mirror.buddy.memory.offers["reset_reflection_database"]
    assert [grade for grade, *_ in await diagnose(mirror)] == ["ok", "warning"]


async def test_a_server_that_cannot_be_asked_is_a_warning_and_gets_no_canary(mirror):
    del mirror.buddy.memory.offers["quick_search"], mirror.buddy.memory.offers["fingerprint_search"]
    assert [grade for grade, *_ in await diagnose(mirror)] == ["warning"]
    assert mirror.buddy.memory.contents == []


async def test_a_server_that_answers_with_errors_is_a_warning(mirror):
    mirror.buddy.faults.set(EVERYTHING, Status(500))
    assert await diagnose(mirror) == [
        (
            "warning",
            "URL cannot be talked to (HTTP status 500)",
            "look whether it runs, and whether it is an MCP server",
        )
    ]


async def test_what_waits_is_counted_and_where_nobody_listens_it_is_said(mirror):
    mirror.add_results(2)
    mirror.buddy.refuse()
    (first, second) = await diagnose(mirror)
    assert first[:2] == ("warning", "nothing listens at URL")
    assert second == ("ok", "2 to be sent: 'mahavishnu results sync' does it now", "")


async def test_what_is_switched_off_is_said_and_nobody_is_asked(mirror):
    mirror.set(integration="false")
    assert await diagnose(mirror) == [("ok", "switched off by 'session_buddy_integration'", "")]
    assert mirror.buddy.memory.calls == []
    assert not mirror.outbox.root.exists()


async def test_a_server_that_is_being_sent_to_is_left_alone(mirror):
    mirror.outbox.prepare()
    with mirror.outbox.try_lock():
        assert await diagnose(mirror) == [("ok", "URL: another program is sending to it now", "")]
    assert mirror.buddy.memory.calls == []


async def test_the_reason_why_something_waits_is_told(mirror):
    mirror.add_result()
    mirror.outbox.note_failure("it was asleep", "wake it")
    assert (await diagnose(mirror))[-1][1] == (
        "1 to be sent (it was asleep): 'mahavishnu results sync' does it now"
    )
