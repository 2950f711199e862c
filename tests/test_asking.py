"""What places say when all are asked: what is left over, how things are, what is being waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager, WorkerType, hookimpl
from mahavishnu_core.asking import LOOK_PATIENCE, REMOVE_PATIENCE
from mahavishnu_core.errors import MissingError
from mahavishnu_core.health import Check
from mahavishnu_core.models import Leftover, Swept
from tests.fakes import FakePlace, app_of

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
        Check("plugin c", "warning", "diagnose has not answered for 15 s"),
        Check("plugin d", "warning", "a hook gave something else in a list of Check"),
    ]
    assert asked.kinds == ["fake"]
    assert trio.current_time() - began == pytest.approx(LOOK_PATIENCE)


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
