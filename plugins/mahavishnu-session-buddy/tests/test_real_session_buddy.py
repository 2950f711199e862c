"""Results in the real Session-Buddy, as its own search finds them: nothing missing, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .real_server import UNCLOSED
from .real_site import NOT_SENT, Site, open_site

pytestmark = [pytest.mark.session_buddy, pytest.mark.filterwarnings(UNCLOSED)]


@pytest.fixture
def site(tmp_path: Path, nothing_left: None) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


def assert_each_once(site: Site, tasks: list[str]) -> None:
    """By its search over everything, by its count, and by the search that shows one."""
    asking = site.buddy.over_http
    assert asking.tasks() == sorted(tasks)
    assert asking.count() == len(tasks)
    words = [letter.tags[1] for letter in asking.held()]
    assert [word for word in words if not asking.shows(word)] == []


def test_three_workers_results_arrive_by_themselves_and_are_found_again_each_once(site: Site) -> None:
    site.buddy.start()
    tasks = site.execute("echo the needle in the haystack")
    site.wait_until_sent()
    assert_each_once(site, tasks)
    assert all("the needle in the haystack" in letter.content for letter in site.buddy.over_http.held())
    assert {letter.fact("status") for letter in site.buddy.over_http.held()} == {"completed"}


def test_what_is_waiting_for_a_server_is_sent_by_the_first_sync_and_not_by_the_second(site: Site) -> None:
    tasks = site.execute("echo nobody listens")
    site.wait_until_no_relay()
    said = site.sync(status=NOT_SENT)
    assert (said.sent, said.waiting) == ([], 3)
    assert said.reason
    assert site.buddy.url in said.reason

    site.buddy.start()
    said = site.sync()
    assert (sorted(said.sent), said.waiting, said.reason) == (tasks, 0, None)
    said = site.sync()
    assert (said.sent, said.waiting) == ([], 0)
    assert_each_once(site, tasks)


def test_a_server_that_is_killed_or_robbed_of_its_database_is_made_whole_by_a_sync_that_verifies(
    site: Site,
) -> None:
    site.buddy.start()
    tasks = site.execute("echo in and out")
    site.wait_until_sent()

    site.buddy.kill()
    site.buddy.start()
    site.sync("--verify")
    assert_each_once(site, tasks)

    site.buddy.stop()
    site.buddy.lose_database()
    site.buddy.start()
    said = site.sync("--verify")
    assert (sorted(said.lost), sorted(said.sent), said.waiting) == (tasks, tasks, 0)
    assert_each_once(site, tasks)
    said = site.sync("--verify")
    assert (said.lost, said.sent) == ([], [])


def test_what_has_arrived_is_on_the_servers_disk_when_it_is_killed_at_once(site: Site) -> None:
    site.buddy.start()
    tasks = site.execute("echo to the disk")
    site.wait_until_sent()
    site.buddy.kill()

    site.buddy.start()
    assert_each_once(site, tasks)
    said = site.sync("--verify")
    assert (said.lost, said.sent, said.waiting) == ([], [], 0)


def test_doctor_stores_a_canary_finds_it_again_and_warns_when_it_is_gone(site: Site) -> None:
    site.buddy.start()
    first, second = site.look(), site.look()
    assert [grade for grade, _ in first + second] == ["ok", "ok"]
    assert "stores and finds" in first[0][1]
    assert "still has what was stored earlier" in second[0][1]
    assert site.buddy.over_http.count() == 1

    site.buddy.stop()
    site.buddy.lose_database()
    site.buddy.start()
    third = site.look()
    assert [grade for grade, _ in third] == ["ok", "warning"]
    assert "lost" in third[1][1]
    assert [grade for grade, _ in site.look()] == ["ok"]


def test_doctor_names_the_address_where_nothing_listens(site: Site) -> None:
    ((grade, detail),) = site.look()
    assert grade == "warning"
    assert site.buddy.url in detail
