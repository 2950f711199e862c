"""Subscriptions: a client is told when a worker that it asked for changes, and of no other."""

from __future__ import annotations

import warnings

import attrs
import pytest
import trio
from mcp import Client
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import Implementation, ResourceUpdatedNotification

from mahavishnu_core import WorkerManager
from mahavishnu_core.events import Finished, Text
from mahavishnu_mcp import subscriptions

DONE = Finished(success=True, text="the answer")
LEGACY = pytest.mark.parametrize("mode", ["legacy"])
MODERN = pytest.mark.parametrize("mode", ["2026-07-28"])


def uri(worker_id: str) -> str:
    return f"mahavishnu://workers/{worker_id}"


@attrs.define
class Ear:
    """What a client of the older era is told."""

    updated: list[str] = attrs.field(factory=list)
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.updated.append(str(message.params.uri))
            self._news.set()
            self._news = trio.Event()
        await trio.lowlevel.checkpoint()

    async def hears(self, *uris: str) -> None:
        """Wait until it has been told of just these, in that order, and forget them."""
        with trio.fail_after(60):
            while len(self.updated) < len(uris):
                await self._news.wait()
        assert self.updated == list(uris)
        self.updated.clear()


async def subscribe(desk, worker_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        await desk.client.subscribe_resource(uri(worker_id))


async def unsubscribe(desk, worker_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        await desk.client.unsubscribe_resource(uri(worker_id))


@LEGACY
async def test_a_subscriber_is_told_of_its_worker_until_it_unsubscribes(autojump_clock, open_desk, place):
    place.script = lambda task: place.steps(5.0, Text("on it"), 5.0, Text("still"), 5.0, DONE)
    ear = Ear()
    async with open_desk(message_handler=ear) as desk:
        mine, other = await desk.spawn(2)
        await subscribe(desk, mine)
        await desk.begin(other)
        await trio.sleep(30)
        assert ear.updated == []
        await desk.begin(mine)
        await trio.sleep(60)
        assert set(ear.updated) == {uri(mine)}
        assert len(ear.updated) >= 2  # it began, and it ended
        ear.updated.clear()
        await unsubscribe(desk, mine)
        await desk.call("worker_execute", worker_id=mine, prompt="more")
        await trio.sleep(30)
        assert ear.updated == []


@LEGACY
async def test_what_other_programs_do_is_told_too(autojump_clock, open_desk, fake_app, place):
    ear = Ear()
    async with open_desk(message_handler=ear) as desk, WorkerManager(fake_app) as theirs:
        (worker_id,) = await desk.spawn()
        await subscribe(desk, worker_id)
        await theirs.close_worker(worker_id)
        await ear.hears(uri(worker_id))


@LEGACY
async def test_every_client_has_its_own_subscriptions(autojump_clock, open_desk, fake_app, root, place):
    """Two connections to one server."""
    first, second = Ear(), Ear()
    async with (
        open_desk(message_handler=first) as desk,
        Client(desk.server, mode="legacy", message_handler=second) as client,
    ):
        other = attrs.evolve(desk, client=client)
        a, b = await desk.spawn(2)
        await subscribe(desk, a)
        await subscribe(other, b)
        await subscribe(other, a)
        await unsubscribe(other, a)
        await desk.call("worker_close", worker_id=a)
        await first.hears(uri(a))
        await desk.call("worker_close", worker_id=b)
        await second.hears(uri(b))
        assert first.updated == []


@LEGACY
async def test_one_that_has_left_or_does_not_listen_keeps_no_other_from_being_told(
    autojump_clock, open_desk, monkeypatch
):
    really = ServerSession.send_resource_updated

    async def send(session: ServerSession, address: str) -> None:
        if session.client_params.client_info.name == "deaf":
            await trio.sleep_forever()
        await really(session, address)

    monkeypatch.setattr(ServerSession, "send_resource_updated", send)
    ear = Ear()
    async with open_desk(message_handler=ear) as desk:
        (worker_id,) = await desk.spawn()
        async with Client(desk.server, mode="legacy") as client:
            await subscribe(attrs.evolve(desk, client=client), worker_id)
        deaf = Client(desk.server, mode="legacy", client_info=Implementation(name="deaf", version="1"))
        async with deaf as client:
            await subscribe(attrs.evolve(desk, client=client), worker_id)
            await subscribe(desk, worker_id)
            await desk.begin(worker_id)
            await trio.sleep(30)
            assert set(ear.updated) == {uri(worker_id)}
            ear.updated.clear()
            began = trio.current_time()
            await desk.call("worker_close", worker_id=worker_id)
            await ear.hears(uri(worker_id))
            assert trio.current_time() - began < 2


@LEGACY
async def test_there_is_room_for_so_many_and_the_oldest_make_it(autojump_clock, open_desk, monkeypatch):
    monkeypatch.setattr(subscriptions, "_MOST", 3)
    ear = Ear()
    async with open_desk(message_handler=ear) as desk:
        ids = await desk.spawn(4)
        for worker_id in ids:
            await subscribe(desk, worker_id)
        await desk.call("worker_close", worker_id=ids[0])
        await desk.call("worker_close", worker_id=ids[3])
        await ear.hears(uri(ids[3]))


@MODERN
async def test_a_listener_is_told_of_its_worker_and_of_no_other(autojump_clock, desk, place):
    mine, other = await desk.spawn(2)
    heard: list[str] = []
    listening = desk.client.listen(resource_subscriptions=[uri(mine)])
    async with listening as subscription, trio.open_nursery() as nursery:

        async def hear() -> None:
            async for event in subscription:
                heard.append(str(event.uri))  # noqa: PERF401  # it does not end

        nursery.start_soon(hear)
        await desk.call("worker_execute", worker_id=other, prompt="go")
        await trio.sleep(30)
        assert heard == []
        await desk.call("worker_execute", worker_id=mine, prompt="go")
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert set(heard) == {uri(mine)}


@MODERN
async def test_the_state_that_is_read_after_the_news_is_the_new_one(autojump_clock, desk, place):
    (worker_id,) = await desk.spawn()
    async with desk.client.listen(resource_subscriptions=[uri(worker_id)]) as subscription:
        await desk.call("worker_close", worker_id=worker_id)
        with trio.fail_after(60):
            event = await anext(subscription)
        (line,) = desk.service.lines([worker_id])
    assert (str(event.uri), line.closed) == (uri(worker_id), True)
