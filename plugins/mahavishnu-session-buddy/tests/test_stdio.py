"""A server that is started for each sending and talked to over its standard streams."""

from __future__ import annotations

import shlex

import pytest

from mahavishnu_core.models import Backlog
from mahavishnu_session_buddy import server
from mahavishnu_session_buddy.names import title_of, token_of

from .stdio_buddy import StdioBuddy

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.thorough]


@pytest.fixture
def stdio(mirror, tmp_path):
    """A mirror whose settings name a command; ``stdio(...)`` says what is wrong with it."""

    def use(**faults):
        server = StdioBuddy(tmp_path / "memory.json", **faults)
        mirror.set(command=shlex.join(server.command))
        return server

    return use


def copies(buddy, task):
    return sum(content.startswith(title_of(token_of(task))) for content in buddy.memory.contents)


async def test_results_are_stored_in_a_server_that_is_started(mirror, stdio):
    buddy = stdio()
    tasks = mirror.add_results(3)
    assert sorted((await mirror.sync()).sent) == sorted(tasks)
    assert [copies(buddy, task) for task in tasks] == [1, 1, 1]
    assert mirror.buddy.memory.calls == []


async def test_what_a_server_says_on_its_standard_error_is_kept_for_its_owner(mirror, stdio):
    stdio(last_words="no database today")
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert "cannot be talked to" in backlog.reason
    assert "server.log" in backlog.advice
    log = mirror.outbox.home / "server.log"
    assert log.read_text() == "no database today\n"
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_program_that_is_not_there_is_named(mirror):
    mirror.set(command="/nowhere/session-buddy --stdio")
    mirror.add_result()
    backlog = (await mirror.sync()).backlog
    assert "/nowhere/session-buddy" in backlog.reason
    assert (backlog.count, backlog.is_failing) == (1, True)


@pytest.mark.parametrize("place", ["initialize", "tools/list", "store_reflection"])
async def test_a_server_that_falls_silent_is_ended_and_nothing_is_lost(mirror, stdio, monkeypatch, place):
    monkeypatch.setattr(server, "START_PATIENCE", 1.0)
    monkeypatch.setattr(server, "CALL_PATIENCE", 0.3)
    stdio(hangs_at=place)
    task = mirror.add_result()
    assert (await mirror.sync()).backlog.count == 1
    buddy = stdio()
    assert (await mirror.sync()).sent == (task,)
    assert copies(buddy, task) == 1


async def test_the_database_of_another_server_is_said(mirror, stdio):
    stdio(is_locked=True)
    task = mirror.add_result()
    assert "Could not set lock on file" in (await mirror.sync()).backlog.reason
    buddy = stdio()
    assert (await mirror.sync()).backlog == Backlog("session-buddy", 0)
    assert copies(buddy, task) == 1


async def test_a_server_without_tools_is_one_clear_line(mirror, stdio):
    stdio(has_tools=False)
    mirror.add_result()
    assert "has no tool 'store_reflection' or 'store_memory'" in (await mirror.sync()).backlog.reason


async def test_a_started_server_works_in_a_directory_of_ours(mirror, stdio, tmp_path):
    mirror.set(command=shlex.join(["sh", "-c", f"pwd > {tmp_path}/where"]))
    mirror.add_result()
    await mirror.sync()
    assert (tmp_path / "where").read_text().strip() == str(mirror.outbox.home)
