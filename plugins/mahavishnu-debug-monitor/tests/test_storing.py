"""Lines reach every storage once and in order, whatever a storage does; what will never arrive is counted."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core.models import LogBatch
from mahavishnu_debug_monitor import storing
from mahavishnu_debug_monitor.storing import MOST_LINES, Storing


@attrs.define(eq=False)
class Storages:
    """Two storages: ``good`` keeps, and so does ``other`` unless it is ``down`` or ``hangs``."""

    asked: list[tuple[float, int, int]] = attrs.field(factory=list)
    """When, and for which lines."""
    kept: list[int] = attrs.field(factory=list)
    """The numbers of the lines that ``other`` has, as they came."""
    is_down: bool = False
    seconds: float = 0.0

    async def keep(self, batch: LogBatch) -> Mapping[str, str | None]:
        self.asked.append((trio.current_time(), batch.first, batch.last))
        await trio.sleep(self.seconds)
        if not self.is_down:
            self.kept += range(batch.first, batch.last + 1)
        return {"good": None, "other": "it is down" if self.is_down else None}


@pytest.fixture
def storages() -> Storages:
    return Storages()


@pytest.fixture
def told() -> list[Mapping[str, str | None]]:
    return []


@pytest.fixture
def store(storages: Storages, told: list[Mapping[str, str | None]]) -> Storing:
    return Storing(storages.keep, told.append)


def texts(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


async def test_what_comes_is_stored_soon_and_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery, storages: Storages, store: Storing
) -> None:
    nursery.start_soon(store.serve)
    for second in range(5):
        store.add(second * 3 + 1, texts(3))
        await trio.sleep(1)
    assert [(first, last) for _, first, last in storages.asked] == [
        (1, 3),
        (4, 6),
        (7, 9),
        (10, 12),
        (13, 15),
    ]
    assert store.waiting == store.lost == 0


async def test_what_comes_while_a_storage_is_slow_goes_in_one_batch(
    autojump_clock: MockClock, nursery: trio.Nursery, storages: Storages, store: Storing
) -> None:
    storages.seconds = 10
    nursery.start_soon(store.serve)
    for second in range(5):
        store.add(second + 1, texts(1))
        await trio.sleep(1)
    await trio.sleep(30)
    assert [(first, last) for _, first, last in storages.asked] == [(1, 1), (2, 5)]


async def test_a_batch_has_a_limit_and_no_gap_in_it(
    autojump_clock: MockClock, storages: Storages, store: Storing
) -> None:
    store.add(1, texts(MOST_LINES + 1))
    store.add(MOST_LINES + 7, texts(2))
    await store.store()
    found = [(first, last) for _, first, last in storages.asked]
    assert found == [(1, MOST_LINES), (MOST_LINES + 1, MOST_LINES + 1), (MOST_LINES + 7, MOST_LINES + 8)]


async def test_a_storage_that_is_down_is_asked_again_later_and_later_with_the_same_batches(
    autojump_clock: MockClock, nursery: trio.Nursery, storages: Storages, store: Storing
) -> None:
    storages.is_down = True
    nursery.start_soon(store.serve)
    store.add(1, texts(2))
    await trio.sleep(300)
    times = [round(time) for time, _, _ in storages.asked]
    assert times == [0, 2, 6, 14, 30, 62, 122, 182, 242]
    assert {batch for _, *batch in map(tuple, storages.asked) for batch in [tuple(batch)]} == {(1, 2)}
    assert store.waiting == 2
    storages.is_down = False
    await trio.sleep(60)
    assert (storages.kept, store.waiting, store.lost) == ([1, 2], 0, 0)


async def test_a_storage_that_is_down_delays_no_line_for_the_others(
    autojump_clock: MockClock, nursery: trio.Nursery, storages: Storages, store: Storing
) -> None:
    storages.is_down = True
    nursery.start_soon(store.serve)
    for second in range(4):
        store.add(second + 1, texts(1))
        await trio.sleep(1)
    first_asked = {first: round(time) for time, first, _ in reversed(storages.asked)}
    assert first_asked == {1: 0, 2: 1, 3: 2, 4: 3}


async def test_where_lines_are_kept_is_told_when_it_changes(
    autojump_clock: MockClock,
    storages: Storages,
    store: Storing,
    told: list[Mapping[str, str | None]],
) -> None:
    for is_down in (False, False, True, True, False):
        storages.is_down = is_down
        store.add(1, texts(1))
        await store.store()
        await trio.sleep(100)
    assert [outcome["other"] for outcome in told] == [None, "it is down", None]


async def test_storing_that_is_cancelled_loses_nothing(
    autojump_clock: MockClock, storages: Storages, store: Storing
) -> None:
    storages.seconds = 10
    store.add(1, texts(MOST_LINES + 5))
    with trio.move_on_after(5):
        await store.store()
    assert store.waiting == MOST_LINES + 5
    await store.store()
    assert storages.kept == list(range(1, MOST_LINES + 6))
    assert [(first, last) for _, first, last in storages.asked][:2] == [(1, MOST_LINES)] * 2


async def test_of_too_many_the_oldest_are_given_up_and_counted(
    autojump_clock: MockClock, storages: Storages, store: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "MOST_WAITING", 10)
    store.add(1, texts(13))
    assert (store.lost, store.waiting) == (3, 10)
    storages.is_down = True
    await store.store()
    store.add(14, texts(4))
    await store.store()
    assert (store.lost, store.waiting) == (13, 4)
