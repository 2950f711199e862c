"""What places say when all are asked: what is left over, how things are, what is being waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager, WorkerResult, WorkerStatus, WorkerType, hookimpl
from mahavishnu_core.asking import LOOK_PATIENCE, REMOVE_PATIENCE, TRY_PATIENCE
from mahavishnu_core.errors import MissingError
from mahavishnu_core.health import Check
from mahavishnu_core.models import Backlog, Leftover, Swept, Synced
from tests.fakes import FakePlace, FakeStorage, app_of

ROOM = Leftover("room 7", "k3f9a2b1", "its worker is closed")


@attrs.define(eq=False)
class Asked:
    """A place that answers, late or never, with what it is given; an exception is raised."""

    answer: object = ()
    seconds: float = 0.0
    removed: list[bool] = attrs.field(factory=list)
    kinds: list[str] = attrs.field(factory=list)

    @hookimpl
    def sweep(self, remove: bool) -> Awaitable[object]:
        self.removed.append(remove)
        return self._say()

    @hookimpl
    def diagnose(self, kinds: Sequence[WorkerType]) -> Awaitable[object]:
        self.kinds += [kind.name for kind in kinds]
        return self._say()

    async def _say(self) -> object:
        await trio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Declining:
    @hookimpl
    def sweep(self) -> None:
        return None


class Raising:
    @hookimpl
    def sweep(self) -> None:
        raise RuntimeError("no idea")

    @hookimpl
    def diagnose(self) -> None:
        raise RuntimeError("no idea")


async def swept(tmp_path: Path, *, remove: bool = False, **plugins: object) -> Swept:
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        return await manager.sweep(remove=remove)


# --- sweep


@pytest.mark.parametrize("remove", [False, True])
async def test_what_is_left_over_is_gathered_from_all_places(
    autojump_clock: MockClock, tmp_path: Path, remove: bool
) -> None:
    other = Leftover("room 8", "", "nobody knows its worker")
    places = Asked([ROOM], 9.0), Asked((other,)), Declining()
    began = trio.current_time()
    found = await swept(tmp_path, remove=remove, first=places[0], second=places[1], third=places[2])
    assert found == Swept((ROOM, other))
    assert [place.removed for place in places[:2]] == [[remove], [remove]]
    assert trio.current_time() - began == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("place", "failure"),
    [
        (Asked(MissingError("the daemon is away:\nstart it")), "the daemon is away: start it"),
        (Asked(OSError("no socket")), "sweep failed: OSError: no socket"),
        (Asked(seconds=LOOK_PATIENCE + 1), "sweep has not answered for 15 s"),
        (Asked(["room 7"]), "a hook gave something else in a list of Leftover"),
        (Asked(7), "a hook gave int where Sequence is due"),
        (Raising(), "sweep failed: RuntimeError: no idea"),
    ],
)
async def test_a_place_that_cannot_say_is_named_and_the_others_are_heard(
    autojump_clock: MockClock, tmp_path: Path, place: object, failure: str
) -> None:
    found = await swept(tmp_path, a=place, b=Asked([ROOM]))
    assert found == Swept((ROOM,), (f"plugin 'a': {failure}",))


async def test_taking_things_away_may_take_longer(autojump_clock: MockClock, tmp_path: Path) -> None:
    found = await swept(tmp_path, remove=True, slow=Asked([ROOM], REMOVE_PATIENCE - 1))
    assert found == Swept((ROOM,))


async def test_health_is_degraded_by_what_is_left_over(autojump_clock: MockClock, tmp_path: Path) -> None:
    place = Asked([ROOM])
    async with WorkerManager(app_of(tmp_path, place=place)) as manager:
        health = await manager.health()
        assert (health.status, health.leftovers) == ("degraded", ("room 7: its worker is closed",))
        assert health.to_dict()["leftovers"] == ["room 7: its worker is closed"]
        place.answer = []
        assert (await manager.health()).status == "healthy"
        place.answer = OSError("no socket")
        health = await manager.health()
        assert (health.status, health.leftovers) == ("degraded", ())
        assert health.not_swept == ("plugin 'place': sweep failed: OSError: no socket",)
    assert place.removed == [False, False, False]


# --- diagnose


async def test_plugins_say_how_they_are_and_those_that_cannot_are_named(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    fine = Check("daemon", "ok", "2.0")
    asked = Asked([fine])
    plugins = {"a": Raising(), "b": asked, "c": Asked(seconds=99.0), "d": Asked(["ok"])}
    began = trio.current_time()
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        found = await manager.diagnose([WorkerType("fake", "fake", "fake")])
    assert found == [
        fine,
        Check("plugin a", "warning", "diagnose failed: RuntimeError: no idea"),
        Check("plugin c", "warning", "diagnose has not answered for 60 s"),
        Check("plugin d", "warning", "a hook gave something else in a list of Check"),
    ]
    assert asked.kinds == ["fake"]
    assert trio.current_time() - began == pytest.approx(TRY_PATIENCE)


async def test_a_server_may_be_started_to_see_how_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    fine = Check("server", "ok", "1.0")
    async with WorkerManager(app_of(tmp_path, slow=Asked([fine], TRY_PATIENCE - 1))) as manager:
        assert await manager.diagnose([]) == [fine]


class Impatient:
    """Gives up on something of its own after two seconds."""

    @hookimpl
    def sweep(self) -> Awaitable[object]:
        return self._wait()

    @hookimpl
    def store_result(self) -> Awaitable[object]:
        return self._wait()

    async def _wait(self) -> None:
        with trio.fail_after(2):
            await trio.sleep_forever()


async def test_a_time_that_a_plugin_has_set_itself_is_not_taken_for_ours(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    async with WorkerManager(app_of(tmp_path, odd=Impatient(), fake=FakePlace(nursery))) as manager:
        assert (await manager.sweep()).failures == ("plugin 'odd': sweep failed: TooSlowError:",)
        await manager.execute_task((await manager.spawn_workers("fake"))[0], "go")
        assert [failure.error for failure in manager.storage_failures] == ["TooSlowError: "]


# --- search_results


@attrs.define(eq=False)
class Library:
    """Finds what it has, after some seconds."""

    found: object
    seconds: float = 0.0

    @hookimpl
    def search_results(self) -> Awaitable[object]:
        return self._search()

    async def _search(self) -> object:
        await trio.sleep(self.seconds)
        return self.found


async def test_all_storages_are_searched_and_those_that_cannot_be_are_named(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mine = WorkerResult("k", WorkerStatus.COMPLETED)
    plugins = {"a": Library([mine]), "b": Library(["a word"]), "c": Library([mine], TRY_PATIENCE + 1)}
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        found, failures = await manager.search_results("word", 10)
    assert found == [mine]
    assert failures == {
        "b": "a hook gave something else in a list of WorkerResult",
        "c": "search_results has not answered for 60 s",
    }


# --- backlog and sync_results


@attrs.define(eq=False)
class Mirror(FakeStorage):
    """A storage that sends results on, one a second; what it is given as ``fault`` is raised."""

    name: str = "mirror"
    waiting: list[str] = attrs.field(factory=list)
    lost: list[str] = attrs.field(factory=list)
    fault: Exception | None = None
    is_failing: bool = False
    seconds: float = 0.0
    looks: int = 0

    @hookimpl
    def backlog(self) -> Awaitable[object]:
        self.looks += 1
        return self._backlog()

    async def _backlog(self) -> object:
        await trio.sleep(self.seconds)
        if self.fault:
            raise self.fault
        return [self._standing()]

    def _standing(self) -> Backlog:
        return Backlog(self.name, len(self.waiting), is_failing=self.is_failing)

    @hookimpl
    def sync_results(self, verify: bool, told: Callable[[int, int], None]) -> Awaitable[object]:
        return self._sync(verify, told)

    async def _sync(self, verify: bool, told: Callable[[int, int], None]) -> object:
        await trio.sleep(self.seconds)
        if self.fault:
            raise self.fault
        lost = tuple(self.lost) if verify else ()
        sent = (*self.waiting, *lost)
        for done in range(len(sent)):
            await trio.sleep(1)
            told(done + 1, len(sent))
        self.waiting.clear()
        return (Synced(sent, self._standing(), lost),)


class NoMirror:
    @hookimpl
    def backlog(self) -> None:
        return None

    @hookimpl
    def sync_results(self) -> None:
        return None


FAULTS = [
    (OSError("no\nsocket"), "{hook} failed: OSError: no socket"),
    (MissingError("the server is away: start it"), "the server is away: start it"),
]


async def test_what_waits_is_gathered_from_all_storages(autojump_clock: MockClock, tmp_path: Path) -> None:
    mirrors = Mirror(name="a", waiting=["k.1"], seconds=14.0), Mirror(name="b", seconds=14.0)
    began = trio.current_time()
    async with WorkerManager(app_of(tmp_path, a=mirrors[0], none=NoMirror(), b=mirrors[1])) as manager:
        assert await manager.backlogs() == [Backlog("a", 1), Backlog("b", 0)]
    assert trio.current_time() - began == pytest.approx(14.0)


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_a_storage_that_cannot_say_what_waits_is_failing_and_the_others_are_heard(
    autojump_clock: MockClock, tmp_path: Path, fault: Exception, reason: str
) -> None:
    plugins = {
        "a": Mirror(fault=fault),
        "b": Mirror(name="b", waiting=["k.1"]),
        "c": Mirror(seconds=LOOK_PATIENCE + 1),
    }
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        assert await manager.backlogs() == [
            Backlog("b", 1),
            Backlog("a", 0, reason.format(hook="backlog"), is_failing=True),
            Backlog("c", 0, "backlog has not answered for 15 s", is_failing=True),
        ]


async def test_what_waits_is_sent_and_told_of_without_a_limit(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mirror = Mirror(waiting=["k.1", "k.2"], lost=["k.0"], seconds=36_000.0)
    told: list[tuple[int, int]] = []
    async with WorkerManager(app_of(tmp_path, mirror=mirror, none=NoMirror())) as manager:
        found = await manager.sync_results(told=lambda done, total: told.append((done, total)))
        assert found == [Synced(("k.1", "k.2"), Backlog("mirror", 0))]
        assert told == [(1, 2), (2, 2)]
        found = await manager.sync_results(verify=True)
        assert found == [Synced(("k.0",), Backlog("mirror", 0), ("k.0",))]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_a_storage_that_raises_has_sent_nothing_and_the_others_have(
    autojump_clock: MockClock, tmp_path: Path, fault: Exception, reason: str
) -> None:
    plugins = {"a": Mirror(fault=fault), "b": Mirror(name="b", waiting=["k.1"])}
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        assert await manager.sync_results() == [
            Synced(("k.1",), Backlog("b", 0)),
            Synced((), Backlog("a", 0, reason.format(hook="sync_results"), is_failing=True)),
        ]


async def test_sending_can_be_cancelled(autojump_clock: MockClock, tmp_path: Path) -> None:
    mirror = Mirror(waiting=["k.1", "k.2", "k.3"])
    async with WorkerManager(app_of(tmp_path, mirror=mirror)) as manager:
        with trio.move_on_after(1.5) as scope:
            await manager.sync_results()
    assert scope.cancelled_caught
    assert len(mirror.waiting) == 3


async def test_health_is_degraded_by_a_storage_that_fails_and_not_by_one_that_is_on_its_way(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mirror = Mirror()
    async with WorkerManager(app_of(tmp_path, mirror=mirror)) as manager:
        health = await manager.health()
        assert (health.status, health.not_mirrored) == ("healthy", ())
        mirror.waiting.append("k.1")
        health = await manager.health()
        assert (health.status, health.not_mirrored) == ("healthy", (Backlog("mirror", 1),))
        mirror.is_failing = True
        health = await manager.health()
        assert health.status == "degraded"
        assert health.to_dict()["not_mirrored"] == [
            {"storage": "mirror", "count": 1, "reason": "", "advice": "", "is_failing": True}
        ]
        mirror.fault = OSError("no disk")
        health = await manager.health()
        assert (health.status, health.not_mirrored[0].reason) == (
            "degraded",
            "backlog failed: OSError: no disk",
        )


async def test_an_engine_knows_which_storages_have_taken_something_from_it(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    plugins = {"fake": FakePlace(nursery), "good": FakeStorage(), "bad": FakeStorage(broken=True)}
    async with WorkerManager(app_of(tmp_path, **plugins)) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        assert manager.engine.stored_in == set()
        await manager.execute_task(worker_id, "go")
        assert manager.engine.stored_in == {"good"}


# --- notify


@attrs.define(eq=False)
class Telling(FakePlace):
    """A place that says what it waits for."""

    @hookimpl
    def spawn(self, engine, worker):
        engine.notify("pulling\x1b[2J my/image:\n40 %")
        return self._spawn(worker)


async def test_a_notice_is_one_line_for_all_who_listen(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "a-secret-of-ours")
    heard: list[str] = []
    others: list[str] = []
    async with WorkerManager(app_of(tmp_path, fake=Telling(nursery))) as manager:
        manager.engine.notify("nobody listens")
        with manager.listening(heard.append), manager.listening(others.append):
            await manager.spawn_workers("fake")
        with manager.listening(heard.append):
            manager.engine.notify("with a-secret-of-ours " + "x" * 300)
        manager.engine.notify("nobody listens any more")
    assert others == ["pulling\\x1b[2J my/image: 40 %"]
    assert heard[0] == others[0]
    assert heard[1].startswith("with [redacted] xxx")
    assert (len(heard), len(heard[1])) == (2, 200)
