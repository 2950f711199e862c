"""Many results at once, and who sends or takes them killed half-way: each is there once in the end."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app
from mahavishnu_core.models import WorkerStatus

from .real_server import UNCLOSED, wait_until
from .real_site import Site, open_site

pytestmark = [pytest.mark.session_buddy, pytest.mark.filterwarnings(UNCLOSED)]
MANY = 20
SOME = 10
"""So many are on their way for as long as a test needs to kill who sends them."""


@pytest.fixture
def site(tmp_path: Path, nothing_left: None) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        yield site


class Silence:
    """Takes connections and says nothing, until it ends; then it closes those and all that come."""

    def __init__(self) -> None:
        self.heard = 0
        self._has_ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def end(self) -> None:
        self._has_ended.set()
        socket.create_connection(self._socket.getsockname()).close()  # to be noticed

    def close(self) -> None:
        """Nothing is left of it."""
        self.end()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        kept: list[socket.socket] = []
        with suppress(OSError):  # it is shut down
            while True:
                kept.append(self._socket.accept()[0])
                self.heard += 1
                if self._has_ended.is_set():
                    for connection in kept:
                        connection.close()
                    kept.clear()
        for connection in kept:
            connection.close()


def assert_each_once(site: Site, tasks: list[str]) -> None:
    assert site.buddy.over_http.tasks() == sorted(tasks)
    assert site.buddy.over_http.count() == len(tasks)


def kill_relay(site: Site) -> None:
    """In mid-sending; there is one, and afterwards there is none."""
    (relay,) = site.relays()
    os.kill(relay.pid, signal.SIGKILL)
    site.wait_until_no_relay()
    assert site.waiting(), "it had sent everything"


def test_twenty_workers_at_once_are_found_again_each_once(site: Site) -> None:
    site.buddy.start()
    results = site.carry_out(*(f"echo the answer is {number}" for number in range(MANY)))
    assert {result.status for result in results} == {WorkerStatus.COMPLETED}
    site.wait_until_sent()
    assert_each_once(site, [str(result.metadata["task_id"]) for result in results])


def test_what_two_engines_do_at_the_same_time_arrives_once(site: Site) -> None:
    site.buddy.start()
    begun = [site.begin("echo we are two", SOME) for _ in range(2)]
    tasks = [task for process in begun for task in site.tasks_of(process)]
    site.wait_until_sent()
    site.wait_until_no_relay()
    assert_each_once(site, tasks)


def test_a_relay_that_is_killed_while_it_sends_leaves_nothing_out_and_sends_nothing_twice(site: Site) -> None:
    site.buddy.start()
    tasks = site.execute("echo cut off", SOME)
    wait_until(site.is_sending, "the relay sends")
    kill_relay(site)

    said = site.sync()
    assert (said.waiting, said.reason) == (0, None)
    assert_each_once(site, tasks)


def test_a_sync_at_the_moment_in_which_the_relay_is_killed_sends_nothing_twice(site: Site) -> None:
    site.buddy.start()
    tasks = site.execute("echo cut off and taken over", SOME)

    async def take_over() -> None:
        async with WorkerManager(load_app(environ=site.environ)) as manager:
            await trio.to_thread.run_sync(wait_until, site.is_sending, "the relay sends")
            kill_relay(site)
            (synced,) = await manager.sync_results()
            assert synced.backlog.count == 0

    trio.run(take_over)
    assert_each_once(site, tasks)


def test_a_letter_that_the_server_is_still_storing_when_the_relay_is_killed_is_not_sent_again(
    site: Site,
) -> None:
    with closing(Silence()) as silence:
        site.buddy.embedder = silence.url
        site.buddy.start()
        tasks = site.execute("echo stuck on its way", 1)
        wait_until(lambda: silence.heard, "the server has begun to store")
        kill_relay(site)

        silence.heard = 0
        sync = site.start("results", "sync")
        with suppress(AssertionError):  # it may well not send
            wait_until(lambda: silence.heard or sync.poll() is not None, "it has sent, or ended", 10)
        silence.end()
        site.finish(sync)
        site.wait_until_sent()
    assert_each_once(site, tasks)


def test_an_engine_whose_relay_is_killed_starts_another(site: Site) -> None:
    site.buddy.start()
    killed: list[int] = []

    async def work() -> list[str]:
        async with WorkerManager(load_app(environ=site.environ)) as manager:
            workers = await manager.spawn_workers("shell", SOME, repo=site.work)
            results = await manager.execute_batch(workers, ["echo and on it goes"] * SOME)
            await trio.to_thread.run_sync(wait_until, site.is_sending, "the relay sends")
            killed.extend(relay.pid for relay in site.relays())
            kill_relay(site)
            await trio.to_thread.run_sync(site.wait_until_sent)
            return [str(result.metadata["task_id"]) for result in results]

    tasks = trio.run(work)
    assert len(killed) == 1
    assert_each_once(site, tasks)


def test_a_server_that_is_killed_while_it_is_sent_to_has_each_once_after_a_sync(site: Site) -> None:
    site.buddy.start()
    tasks = site.execute("echo to a dying server", MANY)
    wait_until(site.is_sending, "the relay sends")
    site.buddy.kill()
    site.wait_until_no_relay()
    assert site.waiting(), "it had sent everything"

    site.buddy.start()
    said = site.sync()
    assert (said.waiting, said.reason) == (0, None)
    assert_each_once(site, tasks)
