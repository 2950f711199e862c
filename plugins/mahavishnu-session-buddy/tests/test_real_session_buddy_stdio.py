"""A Session-Buddy that we start ourselves, on its standard streams; one at a time has the database."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mahavishnu_core.keeper.family import Process
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone

from .real_server import PATIENCE, wait_until
from .real_site import NOT_SENT, Site, open_site

pytestmark = pytest.mark.session_buddy
MANY = 8


@pytest.fixture
def site(tmp_path: Path, nothing_left: None) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        site.more["MAHAVISHNU_SESSION_BUDDY_COMMAND"] = site.buddy.command_line
        yield site


def assert_no_server_left(site: Site) -> None:
    def servers() -> list[Process]:
        return left_by_test(site.buddy.root)

    assert wait_until_gone(servers, PATIENCE) == []


def test_results_go_to_a_server_that_is_started_for_them_and_is_gone_afterwards(site: Site) -> None:
    tasks = site.execute("echo through a pipe")
    said = site.sync()
    assert (said.waiting, said.reason) == (0, None)
    assert_no_server_left(site)
    assert site.buddy.over_stdio.tasks() == tasks
    assert_no_server_left(site)


def test_results_go_there_by_themselves_when_nobody_syncs(site: Site) -> None:
    tasks = site.execute("echo without a word", 1)
    site.wait_until_sent()
    site.wait_until_no_relay()
    assert_no_server_left(site)
    assert site.buddy.over_stdio.tasks() == tasks


def test_a_database_that_another_server_has_is_a_reason_and_nothing_is_lost(site: Site) -> None:
    async def work_while_another_has_it() -> list[str]:
        async with site.buddy.over_stdio.session() as client:
            await client.call_tool("reflection_stats", {}, read_timeout_seconds=PATIENCE)
            return await trio.to_thread.run_sync(work)

    def work() -> list[str]:
        tasks = site.execute("echo locked out")
        said = site.sync(status=NOT_SENT)
        assert (said.sent, said.waiting) == ([], len(tasks))
        assert said.reason
        assert "lock" in said.reason.lower()
        return tasks

    tasks = trio.run(work_while_another_has_it)
    site.wait_until_no_relay()
    assert_no_server_left(site)

    said = site.sync()
    assert (sorted(said.sent), said.waiting, said.reason) == (tasks, 0, None)
    assert site.buddy.over_stdio.tasks() == tasks


def test_a_relay_that_is_killed_while_it_sends_takes_its_server_with_it_and_each_arrives_once(
    site: Site,
) -> None:
    tasks = site.execute("echo cut off", MANY)
    wait_until(site.is_sending, "the relay sends")
    (relay,) = site.relays()
    os.kill(relay.pid, signal.SIGKILL)
    site.wait_until_no_relay()
    assert site.waiting(), "it had sent everything"
    assert_no_server_left(site)

    said = site.sync()
    assert (said.waiting, said.reason) == (0, None)
    assert site.buddy.over_stdio.tasks() == tasks


def test_a_sync_that_is_interrupted_while_it_sends_leaves_no_server_and_the_rest_to_a_relay(
    site: Site,
) -> None:
    site.more["MAHAVISHNU_SESSION_BUDDY_INTEGRATION"] = "false"
    tasks = site.execute("echo stop", MANY)
    del site.more["MAHAVISHNU_SESSION_BUDDY_INTEGRATION"]
    sync = site.start("results", "sync")
    wait_until(lambda: site.outbox.is_dir() and site.is_sending(), "the command sends")
    sync.send_signal(signal.SIGINT)
    site.finish(sync, 128 + signal.SIGINT)

    site.wait_until_sent()
    site.wait_until_no_relay()
    assert_no_server_left(site)
    assert site.buddy.over_stdio.tasks() == tasks


def test_doctor_tries_out_the_server_that_it_starts(site: Site) -> None:
    ((grade, detail),) = site.look()
    assert (grade, "stores and finds" in detail) == ("ok", True)
    ((grade, detail),) = site.look()
    assert (grade, "still has what was stored earlier" in detail) == ("ok", True)
    assert_no_server_left(site)


def test_a_command_that_cannot_be_started_is_a_reason(site: Site) -> None:
    site.more["MAHAVISHNU_SESSION_BUDDY_COMMAND"] = f"{site.work}/no-such-server --stdio"
    site.execute("echo nobody", 1)
    said = site.sync(status=NOT_SENT)
    assert (said.sent, said.waiting) == ([], 1)
    assert said.reason
    assert "no-such-server" in said.reason
