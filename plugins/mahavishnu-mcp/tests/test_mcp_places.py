"""What plugins add to the tools: a place's leftovers, what is waited for, what a storage has not sent yet."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from mahavishnu_core import hookimpl
from mahavishnu_core.errors import MissingError
from mahavishnu_core.host import host_of
from mahavishnu_core.models import Backlog, Leftover

BOTH_ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@attrs.define(eq=False)
class Yard:
    """Has rooms left over, or cannot say; what it spawns takes its time and is told."""

    rooms: list[str] = attrs.field(factory=list)
    is_locked: bool = False
    words: tuple[tuple[float, str], ...] = ()
    """What is said while something is spawned, each after so many seconds."""

    @hookimpl
    def sweep(self, remove: bool) -> Awaitable[list[Leftover]]:
        return self._sweep(remove=remove)

    async def _sweep(self, *, remove: bool) -> list[Leftover]:
        await trio.lowlevel.checkpoint()
        if self.is_locked:
            raise MissingError("the yard is locked")
        found = [Leftover(f"room {room}", room, "its worker is closed") for room in self.rooms]
        if remove:
            self.rooms.clear()
        return found

    @hookimpl
    def spawn(self, engine) -> Awaitable[dict[str, str]] | None:
        return self._spawn(engine) if self.words else None

    async def _spawn(self, engine) -> dict[str, str]:
        for seconds, word in self.words:
            await trio.sleep(seconds)
            engine.notify(word)
        await trio.sleep(25.0)
        return {}


@pytest.fixture
def yard() -> Yard:
    return Yard()


@pytest.fixture
def with_yard(open_desk, fake_app, place, yard):
    @asynccontextmanager
    async def open_with_yard():
        app = attrs.evolve(fake_app, host=host_of({"yard": yard, "fake": place}))
        async with open_desk(app=app) as desk:
            yield desk

    return open_with_yard


@BOTH_ERAS
async def test_closing_all_workers_removes_what_is_left_over(autojump_clock, with_yard, yard):
    yard.rooms = ["7"]
    async with with_yard() as desk:
        health = await desk.call("worker_health")
        assert (health["status"], health["leftovers"]) == ("degraded", ["room 7: its worker is closed"])
        told = await desk.call("worker_close_all")
        assert told["removed"] == [{"name": "room 7", "worker_id": "7", "detail": "its worker is closed"}]
        assert (await desk.call("worker_health"))["status"] == "healthy"


async def test_a_place_that_cannot_say_what_is_left_over_is_named(autojump_clock, with_yard, yard):
    yard.is_locked = True
    reason = ["plugin 'yard': the yard is locked"]
    async with with_yard() as desk:
        assert (await desk.call("worker_health"))["not_swept"] == reason
        ids = await desk.spawn()
        told = await desk.call("worker_close_all")
        assert (told["closed"], told["removed"], told["not_swept"]) == (ids, [], reason)


class Mirror:
    """A storage that cannot send what it has."""

    backlog_of_it = Backlog("mirror", 3, "it is away", "start it", is_failing=True)

    @hookimpl
    def backlog(self) -> Awaitable[list[Backlog]]:
        return self._backlog()

    async def _backlog(self) -> list[Backlog]:
        await trio.lowlevel.checkpoint()
        return [self.backlog_of_it]


@BOTH_ERAS
async def test_a_storage_that_cannot_send_on_what_it_has_is_named(
    autojump_clock, open_desk, fake_app, place, mode
):
    app = attrs.evolve(fake_app, host=host_of({"mirror": Mirror(), "fake": place}))
    async with open_desk(app=app) as desk:
        health = await desk.call("worker_health")
    assert (health["status"], health["not_mirrored"]) == ("degraded", [attrs.asdict(Mirror.backlog_of_it)])


@BOTH_ERAS
async def test_what_a_spawn_waits_for_is_told_as_its_progress(autojump_clock, with_yard, yard):
    yard.words = ((1.0, "pulling\x1b an image"), (0.1, "10 %"), (0.1, "20 %"), (5.0, "90 %"))
    heard: list[tuple[float, str]] = []

    async def hear(number: float, total: float | None, message: str | None) -> None:
        heard.append((number, str(message)))
        await trio.lowlevel.checkpoint()

    async with with_yard() as desk:
        await desk.client.call_tool("worker_spawn", {"worker_type": "fake"}, None, hear)
    words = [message for _, message in heard]
    assert words[:3] == ["pulling\\x1b an image", "20 %", "90 %"]
    assert [word.partition(", ")[0] for word in words[3:]] == ["90 %", "90 %"]
    assert words[3].endswith("s so far")
    assert [number for number, _ in heard] == [1, 2, 3, 4, 5]
