"""What an engine keeps open for its plugins: each resource once, and none in the way of another."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mahavishnu_core import WorkerManager
from tests.fakes import app_of


@asynccontextmanager
async def opened(log, name, seconds):
    log.append(f"opening {name}")
    await trio.sleep(seconds)
    yield name
    log.append(f"closed {name}")


async def test_a_resource_is_opened_once_and_closed_with_the_engine(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    log: list[str] = []
    async with WorkerManager(app_of(tmp_path)) as manager:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(manager.engine.hold, "one", partial(opened, log, "one", 1))
        assert await manager.engine.hold("one", partial(opened, log, "another", 1)) == "one"
        assert log == ["opening one"]


async def test_one_that_does_not_open_keeps_no_other_waiting(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    log: list[str] = []
    async with WorkerManager(app_of(tmp_path)) as manager, trio.open_nursery() as nursery:
        nursery.start_soon(manager.engine.hold, "hangs", partial(opened, log, "hangs", 1000))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            assert await manager.engine.hold("quick", partial(opened, log, "quick", 1)) == "quick"
        nursery.cancel_scope.cancel()
    assert log == ["opening hangs", "opening quick"]


async def test_what_cannot_be_opened_is_tried_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def fails():
        await trio.lowlevel.checkpoint()
        raise ConnectionError("nobody is there")
        yield

    async with WorkerManager(app_of(tmp_path)) as manager:
        with pytest.raises(ConnectionError, match="nobody is there"):
            await manager.engine.hold("one", fails)
        assert await manager.engine.hold("one", partial(opened, log, "one", 1)) == "one"
