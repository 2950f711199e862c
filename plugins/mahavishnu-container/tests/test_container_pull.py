"""Images that are not here: pulled while it is told how far that is, or one clear line why not."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from functools import partial
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest
import trio
from docker.errors import ImageNotFound

from mahavishnu_core.errors import MissingError

from .corner import Corner
from .images import pushed_image

pytestmark = pytest.mark.container
TYPE = "container-executor"


@pytest.fixture
def corner(daemon, model, tmp_path, nothing_left):
    corner = Corner(tmp_path, model, daemon.environ)
    corner.prepare()
    return corner


@pytest.fixture
def pushed(daemon, registry):
    """An image that only the registry has; here or not, it is removed in the end."""
    name = pushed_image(daemon, registry)
    yield name
    with suppress(ImageNotFound):
        daemon.client.images.remove(name, force=True)


@contextmanager
def silent_registry():
    """A registry that takes calls and never answers; its address, and what is set when it is asked."""
    asked, over = Event(), Event()

    class Silence(BaseRequestHandler):
        def handle(self) -> None:
            asked.set()
            over.wait()

    with ThreadingTCPServer(("127.0.0.1", 0), Silence) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", asked
        finally:
            over.set()
            server.shutdown()
            thread.join()


def offer(corner, image, **options):
    corner.offer({"name": TYPE, "options": {"image": image, **options}})


async def refused(corner, image, **options):
    """What is said of an image that cannot be had; nothing may be left of the worker."""
    offer(corner, image, **options)
    async with corner.manager() as manager:
        with pytest.raises(MissingError) as caught:
            await manager.spawn_workers(TYPE, repo=corner.work)
        assert manager.monitor_workers(with_closed=True) == []
    assert list(corner.state.glob("workers/*")) == []
    assert caught.value.exit_status == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_an_image_of_a_registry_is_pulled_and_it_is_told_how_far_that_is(corner, pushed):
    offer(corner, pushed)
    told = []
    async with corner.manager() as manager:
        with manager.listening(told.append):
            workers = await manager.spawn_workers(TYPE, 2, repo=corner.work)
        results = await manager.execute_batch(workers, ["wc -c < /var/ballast"] * 2)
        await manager.close_all()
    assert [result.output.strip() for result in results] == [str(8 << 20)] * 2
    pattern = rf"pulling {re.escape(pushed)}: (\d) of 1 layers, (\d+) of (\d+) MiB"
    steps = [re.fullmatch(pattern, line) for line in told]
    assert all(steps), told
    layers, have, total = zip(*(map(int, step.groups()) for step in steps), strict=True)
    assert (layers[0], layers[-1]) == (0, 1), "each word once: two workers wait for one pull"
    assert layers.count(1) == 1
    assert list(have) == sorted(have)
    assert (have[-1], total[-1]) == (total[-1], max(total))
    assert total[-1] >= 8


async def test_an_image_that_may_not_be_pulled_is_named_with_the_command_that_gets_it(corner, pushed):
    said = await refused(corner, pushed, pull="never")
    assert said == (
        f"the image {pushed!r} is not here, and 'pull: never' forbids to get it: run 'docker pull {pushed}'"
    )


async def test_an_image_that_its_registry_does_not_have_is_missing(corner, registry):
    said = await refused(corner, f"{registry}/no-such/image:1")
    assert said.startswith(
        f"the image '{registry}/no-such/image:1' is not here and cannot be pulled: Docker says"
    )
    assert "not found" in said


async def test_a_registry_that_is_down_is_told(corner):
    said = await refused(corner, "127.0.0.1:1/image")
    assert "cannot be pulled: Docker says" in said
    assert "connection refused" in said


@pytest.mark.parametrize("name", ["NotLowerCase", "a/b//c", "image@sha256:abc"])
async def test_a_name_that_is_none_is_told(corner, name):
    said = await refused(corner, name)
    assert f"the image {name!r}" in said
    assert re.search("invalid|must be", said)


async def test_a_pull_that_is_cancelled_keeps_nobody_waiting_and_leaves_nothing(corner, daemon):
    with silent_registry() as (address, asked):
        offer(corner, f"{address}/image")
        async with corner.manager() as manager:
            with trio.fail_after(5):  # the registry says nothing for as long as this block lasts
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(manager.spawn_workers, TYPE, repo=corner.work))
                    await trio.to_thread.run_sync(asked.wait)
                    nursery.cancel_scope.cancel()
            assert manager.monitor_workers(with_closed=True) == []
    assert list(corner.state.glob("workers/*")) == []
    assert daemon.containers() == []
