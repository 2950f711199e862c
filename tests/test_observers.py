"""Observers of plugins: each in a thread of its own; no task and no end of an engine waits for one."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from mahavishnu_core import WorkerManager, WorkerResult, hookimpl, observers
from mahavishnu_core.app import App
from mahavishnu_core.engine import Engine, open_engine
from mahavishnu_core.events import Event, Raw, TaskEvent, Text, ToolCall
from mahavishnu_core.host import host_of
from mahavishnu_core.models import Task
from tests.fakes import ANSWER, FakePlace, Script, app_of, text

SOON = 0.2


class Watching:
    """An observer that does what it is given."""

    def __init__(self, act: Callable[[TaskEvent], object]) -> None:
        self.act = act

    @hookimpl
    def monitor(self, event: TaskEvent) -> None:
        self.act(event)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What observers wait for; it opens when the test is over, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "NAMED_AFTER", SOON / 2)
    monkeypatch.setattr(observers, "CUT_OFF_AFTER", SOON)
    monkeypatch.setattr(observers, "CLOSING", SOON)
    monkeypatch.setattr(observers, "_LOOK_EVERY", SOON / 10)


def many(task: Task) -> Script:
    return [*(text(str(number)) for number in range(300)), *ANSWER]


async def run_one(app: App) -> WorkerResult:
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        return await manager.execute_task(worker_id, "go")


def refused(app: App) -> list[tuple[str, str]]:
    return [(plugin.name, plugin.reason) for plugin in app.host.refused]


async def test_a_quick_observer_gets_every_event_in_order_in_one_other_thread(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    seen: list[TaskEvent] = []
    threads = set[int]()

    def see(event: TaskEvent) -> None:
        seen.append(event)
        threads.add(threading.get_ident())

    app = app_of(tmp_path, fake=FakePlace(nursery, script=many), watching=Watching(see))
    assert (await run_one(app)).is_success()
    assert [event.seq for event in seen] == list(range(1, 302))
    assert len(threads - {threading.get_ident()}) == len(threads) == 1
    assert app.host.refused == app.host.blocked == []


async def test_g4_an_observer_that_blocks_is_named_and_cut_off_and_the_others_go_on(
    nursery: trio.Nursery, tmp_path: Path, gate: threading.Event, impatient: None
) -> None:
    seen: list[TaskEvent] = []
    calls: list[TaskEvent] = []

    def block_here(event: TaskEvent) -> None:
        calls.append(event)
        gate.wait()

    app = app_of(
        tmp_path, fake=FakePlace(nursery, script=many), bad=Watching(block_here), good=Watching(seen.append)
    )
    async with WorkerManager(app) as manager:
        ids = await manager.spawn_workers("fake", 2)
        assert (await manager.execute_task(ids[0], "go")).is_success()
        while not app.host.refused:  # noqa: ASYNC110  # the plugin's thread tells nobody
            await trio.sleep(SOON / 10)
        assert (await manager.execute_task(ids[1], "go")).is_success()
    assert refused(app) == [("bad", "it did not come back for 0.2 s")]
    (blocked,) = app.host.blocked
    assert (blocked.plugin, blocked.hook) == ("bad", "monitor")
    assert "in block_here" in blocked.stack
    assert "observers.py" not in blocked.stack.replace("test_observers.py", "")
    assert (len(seen), len(calls)) == (602, 1)


async def test_the_end_of_an_engine_waits_a_moment_and_no_longer(
    nursery: trio.Nursery, tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "CLOSING", SOON)
    app = app_of(tmp_path, fake=FakePlace(nursery), bad=Watching(lambda _: gate.wait()))
    with trio.fail_after(30):
        assert (await run_one(app)).is_success()
    assert refused(app) == [("bad", "it had not taken its last events 0.2 s after the end of the engine")]
    assert [blocked.plugin for blocked in app.host.blocked] == ["bad"]


async def test_cancelling_an_engine_is_not_held_up_and_what_it_told_is_taken(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    seen: list[TaskEvent] = []
    app = app_of(tmp_path, fake=FakePlace(nursery), watching=Watching(seen.append))
    with trio.CancelScope() as scope:
        async with open_engine(app, 1) as engine:
            tell(engine, app, 100)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert len(seen) == 100
    assert app.host.refused == []


async def test_an_observer_that_lags_far_behind_is_cut_off(
    nursery: trio.Nursery, tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "MOST_BEHIND", 50)
    app = app_of(tmp_path, fake=FakePlace(nursery), bad=Watching(lambda _: gate.wait()))
    async with open_engine(app, 1) as engine:
        tell(engine, app, 100)
        assert refused(app) == [("bad", "it was more than 50 events behind")]
    assert len(app.host.refused) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("no luck"), SystemExit("no luck"), KeyboardInterrupt("no luck")]
)
async def test_an_observer_that_raises_anything_is_named_once(
    nursery: trio.Nursery, tmp_path: Path, error: BaseException
) -> None:
    calls: list[TaskEvent] = []

    def fail(event: TaskEvent) -> None:
        calls.append(event)
        raise error

    app = app_of(tmp_path, fake=FakePlace(nursery, script=many), bad=Watching(fail))
    assert (await run_one(app)).is_success()
    assert refused(app) == [("bad", f"monitor failed: {type(error).__name__}: no luck")]
    assert len(calls) == 1
    assert (await run_one(app)).is_success()
    assert len(calls) == 1


async def test_g5_an_observer_cannot_change_an_event(nursery: trio.Nursery, tmp_path: Path) -> None:
    def change(event: TaskEvent) -> None:
        event.seq = 7  # type: ignore[misc]

    seen: list[TaskEvent] = []
    place = FakePlace(nursery)
    app = app_of(tmp_path, fake=place, bad=Watching(change), good=Watching(seen.append))
    assert (await run_one(app)).is_success()
    assert [event.seq for event in seen] == [1]
    ((name, reason),) = refused(app)
    assert (name, "immutable" in reason) == ("bad", True)


async def test_g5_what_an_observer_does_to_the_data_in_an_event_reaches_nobody_else(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    events = [
        Raw({"type": "odd", "deep": [{"word": "true"}]}),
        ToolCall("1", "Bash", {"command": "ls", "deep": [{"word": "true"}]}),
        ToolCall("2", "Bash", ["true"]),
        ToolCall("3", "Bash", None),
    ]
    expected = copy.deepcopy(events)
    own, other = list[Event](), list[Event]()

    def forge(event: TaskEvent) -> None:
        match event.event:
            case Raw(data=dict(data)) | ToolCall(input=dict(data)):
                data["deep"][0]["word"] = "forged"  # type: ignore[index,call-overload]
                data.clear()
            case ToolCall(input=list(items)):
                items.append("forged")

    app = app_of(
        tmp_path,
        fake=FakePlace(nursery),
        bad=Watching(forge),
        good=Watching(lambda event: other.append(event.event)),
        worse=Watching(forge),
    )
    async with open_engine(app, 1) as engine:
        engine.observers.append(lambda event: own.append(event.event))
        engine.tell(task_of(app), 1, events, "fake")
    assert events == own == other == expected
    assert app.host.refused == []


async def test_an_observer_may_print(
    nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = app_of(tmp_path, fake=FakePlace(nursery), loud=Watching(lambda event: print(event.seq)))
    assert (await run_one(app)).output == "the answer"
    assert capsys.readouterr().out == "1\n"
    assert app.host.refused == []


async def test_without_an_observer_no_thread_is_started(nursery: trio.Nursery, tmp_path: Path) -> None:
    app = app_of(tmp_path, fake=FakePlace(nursery))
    async with open_engine(app, 1) as engine:
        assert engine.observers == []


async def test_an_observer_of_the_program_itself_is_called_at_once(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    seen: list[TaskEvent] = []
    app = app_of(tmp_path, fake=FakePlace(nursery))
    async with open_engine(app, 1) as engine:
        engine.observers.append(seen.append)
        tell(engine, app, 3)
        assert len(seen) == 3


async def test_an_observer_that_is_slow_now_and_then_is_neither_named_nor_cut_off(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    seen: list[TaskEvent] = []

    def look(event: TaskEvent) -> None:
        if event.seq == 1:
            time.sleep(SOON)
        seen.append(event)

    app = app_of(tmp_path, fake=FakePlace(nursery, script=many), slow=Watching(look))
    assert (await run_one(app)).is_success()
    assert len(seen) == 301
    assert app.host.blocked == app.host.refused == []


def tell(engine: Engine, app: App, count: int) -> None:
    engine.tell(task_of(app), 1, [Text(str(number)) for number in range(count)], "fake")


def task_of(app: App) -> Task:
    return Task("w.1", "w", "go", 1.0, "", False, "", app.state.root)


async def test_what_counts_is_how_often_we_looked_so_that_a_stop_of_the_process_is_one_look(
    nursery: trio.Nursery, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def block(_: TaskEvent) -> None:
        begun.set()
        gate.wait()

    host = host_of({"bad": Watching(block)})
    ((name, call),) = host.calls("monitor")
    thread = observers._Thread(host, name, call)
    nursery.start_soon(thread.work)
    thread.tell(TaskEvent("w", "w.1", 1, Text("hello")))
    await trio.to_thread.run_sync(begun.wait)
    monkeypatch.setattr(observers, "monotonic", lambda: time.monotonic() + 1000)
    for _ in range(3):
        thread.look()
    assert (host.blocked, host.refused) == ([], [])
    for _ in range(30):
        thread.look()
    assert [blocked.plugin for blocked in host.blocked] == ["bad"]
    assert [plugin.name for plugin in host.refused] == ["bad"]
