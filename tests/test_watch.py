"""Plugin code that blocks: named with its stack, interrupted, cut off, and the others go on."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from mahavishnu_core import WorkerManager, WorkerStatus, hookimpl
from mahavishnu_core import host as host_module
from mahavishnu_core import watch as watch_module
from mahavishnu_core.app import App
from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Text
from mahavishnu_core.host import awaited, load_plugins
from mahavishnu_core.models import Exit
from mahavishnu_core.stream.allowance import MOST
from mahavishnu_core.watch import Watch
from tests.fakes import FakePlace, FakeStorage, app_of, hosts
from tests.installed import opened

LIMIT = 0.2
FOR_EVER = 10**6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short limits, and the alarm as it was."""
    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(host_module, "HOOK_LIMIT", LIMIT)
    yield
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    signal.signal(signal.SIGALRM, before)


def sleeps() -> None:
    time.sleep(FOR_EVER)


def spins() -> None:
    while True:
        pass


def tries_again() -> None:
    while True:
        try:
            time.sleep(FOR_EVER)
        except Exception:
            continue


def generates() -> Iterator[int]:
    yield 1
    time.sleep(FOR_EVER)


def swallows() -> list[int]:
    try:
        time.sleep(FOR_EVER)
    except BaseException:
        return [1]
    return [2]


@pytest.mark.parametrize("act", [sleeps, spins, tries_again, generates, swallows])
def test_g4_a_hook_that_blocks_is_named_and_cut_off_and_the_others_answer(act: Callable[[], object]) -> None:
    host = hosts(a=lambda: ["first"], bad=act, z=lambda: ["last"])
    for _ in range(2):
        assert dict(host.all("worker_types")) == {"a": ["first"], "z": ["last"]}
    (refused,) = host.refused
    assert str(refused) == (
        "plugin 'bad' (mahavishnu-core) not asked for worker_types any more: it did not come back for 0.2 s"
    )
    (blocked,) = host.blocked
    assert str(blocked) == ("plugin 'bad' (mahavishnu-core) had not come back from worker_types after 0.1 s")
    assert f"in {act.__name__}" in blocked.stack
    assert "host.py" not in blocked.stack


def test_a_healthy_plugin_is_not_named() -> None:
    host = hosts(a=lambda: ["first"], b=lambda: ["last"])
    for _ in range(100):
        host.all("worker_types")
    assert host.blocked == host.refused == []


def test_one_that_is_slow_once_is_named_and_stays() -> None:
    ended = threading.Event()
    host = hosts(slow=lambda: [ended.wait(LIMIT * 0.75)])
    assert host.all("worker_types") == [("slow", [False])]
    assert [blocked.plugin for blocked in host.blocked] == ["slow"]
    assert host.refused == []


def test_one_that_blocks_in_a_first_result_hook_is_named_when_nobody_else_answers() -> None:
    host = hosts(bad=sleeps)
    for _ in range(2):
        with pytest.raises(PluginError, match=r"^plugin 'bad' \(mahavishnu-core\) was cut off in spawn"):
            host.ask("spawn")
    assert len(host.refused) == 1
    assert hosts(bad=sleeps, good=lambda: "answer").ask("spawn") == "answer"


def test_a_storage_that_blocks_is_not_called_again_and_fails_every_time() -> None:
    calls: list[None] = []

    def block() -> None:
        calls.append(None)
        sleeps()

    host = hosts(bad=block)
    for _ in range(2):
        ((name, failure),) = host.attempts("store_result")
        assert (name, isinstance(failure, PluginError)) == ("bad", True)
    assert len(calls) == len(host.refused) == 1


def test_an_error_is_told_as_that_of_its_plugin() -> None:
    with pytest.raises(PluginError, match="failed in worker_types: ZeroDivisionError"):
        raise hosts(a=lambda: 1 / 0).attempts("worker_types")[0][1]  # type: ignore[misc]


def test_a_call_within_a_call_has_its_own_limit_and_leaves_that_of_the_outer_one() -> None:
    inner = hosts(inner=sleeps)
    outer = hosts(outer=lambda: [inner.all("worker_types"), sleeps()])
    assert outer.all("worker_types") == []
    assert [plugin.name for plugin in inner.refused + outer.refused] == ["inner", "outer"]


def test_in_another_thread_plugins_are_called_without_a_watch() -> None:
    slow, answers = threading.Event(), []
    host = hosts(a=lambda: [slow.wait(LIMIT * 2)])
    thread = threading.Thread(target=lambda: answers.extend(host.all("worker_types")))
    thread.start()
    thread.join()
    assert answers == [("a", [False])]
    assert host.blocked == host.refused == []


# --- the alarm of the program itself


def test_a_programs_own_handler_is_left_alone() -> None:
    seen: list[int] = []
    handler = lambda number, _: seen.append(number)  # noqa: E731
    signal.signal(signal.SIGALRM, handler)
    host = hosts(a=lambda: [time.sleep(LIMIT * 1.5)])
    assert host.all("worker_types") == [("a", [None])]
    assert signal.getsignal(signal.SIGALRM) is handler
    assert (seen, host.blocked) == ([], [])


def test_a_programs_own_timer_goes_on() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 100)
    host = hosts(a=lambda: [signal.getitimer(signal.ITIMER_REAL)[0] > 90])
    assert host.all("worker_types") == [("a", [True])]
    assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 90


def test_a_programs_own_alarm_ends_it_as_it_would_without_us() -> None:
    code = """if True:
        import signal, time
        from mahavishnu_core import watch
        watch.Watch("a", "b", "c", 1.0, print).run(int)
        watch._LATE = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(60)
    """
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGALRM


# --- awaitables


async def test_a_coroutine_that_blocks_between_two_awaits_is_cut_off() -> None:
    async def block() -> None:
        await trio.lowlevel.checkpoint()
        sleeps()

    host = hosts(bad=block)
    with pytest.raises(PluginError, match=r"'bad'.* was cut off in spawn: it did not come back for 0\.2 s"):
        await awaited(host.ask("spawn"), object)
    (blocked,) = host.blocked
    assert "in block" in blocked.stack
    assert [plugin.hook for plugin in host.refused] == ["spawn"]


async def test_a_coroutine_may_take_its_time_as_long_as_it_awaits() -> None:
    async def wait() -> str:
        await trio.sleep(LIMIT * 1.5)
        return "answer"

    host = hosts(a=wait)
    assert await awaited(host.ask("spawn"), str) == "answer"
    assert host.blocked == []


async def test_cancelling_passes_through_a_coroutine_of_a_plugin() -> None:
    ended = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    host = hosts(a=wait)
    with trio.move_on_after(0.01) as scope:
        await awaited(host.ask("spawn"), object)
    assert scope.cancelled_caught
    assert (ended, host.refused) == ([True], [])


async def test_a_block_in_a_nursery_of_the_plugin_is_cut_off_too() -> None:
    async def block() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            await trio.lowlevel.checkpoint()
            sleeps()

    host = hosts(bad=block)
    with pytest.raises(PluginError, match="was cut off in spawn"):
        await awaited(host.ask("spawn"), object)


async def test_what_is_not_awaited_can_be_given_up() -> None:
    async def never() -> None: ...

    answer = hosts(a=never).ask("spawn")
    answer.close()  # type: ignore[union-attr]


# --- imports


def test_an_import_that_blocks_is_refused_and_the_others_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "IMPORT_LIMIT", LIMIT)
    with opened(tmp_path / "site") as site:
        site.install("bad", "import time\ntime.sleep(10**6)\n")
        site.install("good")
        host = load_plugins({"MAHAVISHNU_PLUGINS": "bad,good"})
    assert [plugin.name for plugin in host.loaded] == ["core", "good"]
    assert [str(plugin) for plugin in host.refused] == [
        "plugin 'bad' (acme-bad 1.2) not loaded: it did not come back for 0.2 s"
    ]
    assert "site_bad_own.py" in host.blocked[0].stack
    assert "importlib" not in host.blocked[0].stack


def test_a_distribution_that_is_called_after_a_plugin_has_the_first_right_to_its_name(tmp_path: Path) -> None:
    with opened(tmp_path / "site") as site:
        site.install("own", distribution="aaa-own")
        site.install("own", distribution="mahavishnu-own")
        host = load_plugins({"MAHAVISHNU_PLUGINS": "own"})
    assert [plugin.source for plugin in host.loaded][1:] == ["mahavishnu-own 1.2"]
    assert [plugin.source for plugin in host.refused] == ["aaa-own 1.2"]


# --- parsers


class BadParser:
    """Blocks on its second call."""

    def __init__(self) -> None:
        self.calls = 0

    def feed(self, lines: object) -> list[object]:
        self.calls += 1
        time.sleep(FOR_EVER)
        return []

    def end(self, exit: Exit, stderr: str) -> list[object]:
        raise AssertionError("it has been cut off")


class BadPlace(FakePlace):
    @hookimpl
    def parse_progress(self) -> BadParser:  # type: ignore[override]
        return BadParser()


async def test_a_parser_that_blocks_fails_its_task(nursery: trio.Nursery, tmp_path: Path) -> None:
    app = app_of(tmp_path, fake=BadPlace(nursery))
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "no_result")
    assert result.error == (
        "plugin 'fake' (mahavishnu-core) was cut off in its parser: it did not come back for 0.2 s"
    )
    assert [blocked.hook for blocked in app.host.blocked] == ["its parser"]


@pytest.mark.parametrize("where", ["feed", "end"])
async def test_g7_a_parser_whose_events_have_no_end_fails_its_task(
    nursery: trio.Nursery, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "HOOK_LIMIT", FOR_EVER)  # it is not the time that ends it
    taken = itertools.count()

    class Endless(BadPlace):
        @hookimpl
        def parse_progress(self) -> object:  # type: ignore[override]
            return self

        def feed(self, lines: object) -> Iterator[Text]:
            return self.go_on() if where == "feed" else iter(())

        def end(self, exit: Exit, stderr: str) -> Iterator[Text]:
            return self.go_on()

        def go_on(self) -> Iterator[Text]:
            for number in taken:
                assert number < 2 * MOST, "there is no bound"
                yield Text("more")

    app = app_of(tmp_path, fake=Endless(nursery))
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert (result.status, result.metadata["reason"]) == (WorkerStatus.FAILED, "no_result")
    assert result.error == (
        "plugin 'fake' (mahavishnu-core) was cut off in its parser: "
        "it gave more events than its lines can mean"
    )


async def test_a_parser_that_raises_is_named_in_a_notice(nursery: trio.Nursery, tmp_path: Path) -> None:
    class Raising(BadPlace):
        @hookimpl
        def parse_progress(self) -> object:  # type: ignore[override]
            return self

        def feed(self, lines: object) -> list[object]:
            raise ValueError("cannot read")

        def end(self, exit: Exit, stderr: str) -> list[object]:
            return []

    seen = []
    async with WorkerManager(app_of(tmp_path, fake=Raising(nursery))) as manager:
        manager.observe(seen.append)
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    assert result.metadata["reason"] == "no_result"
    assert seen[0].event.text == (
        "HookFailed: plugin 'fake' (mahavishnu-core) failed in its parser: ValueError: cannot read"
    )


async def test_tasks_go_on_beside_a_storage_that_blocks(nursery: trio.Nursery, tmp_path: Path) -> None:
    class Blocking(FakeStorage):
        @hookimpl
        def store_result(self) -> object:  # type: ignore[override]
            return self.block()

        async def block(self) -> None:
            await trio.lowlevel.checkpoint()
            spins()

    good = FakeStorage()
    app: App = app_of(tmp_path, fake=FakePlace(nursery), good=good, bad=Blocking())
    async with WorkerManager(app) as manager:
        ids = await manager.spawn_workers("fake", 3)
        results = await manager.execute_batch(ids, ["go"] * 3)
        failures = manager.storage_failures
    assert all(result.is_success() for result in results)
    assert len(good.kept) == 3
    assert {failure.storage for failure in failures} == {"bad"}
    assert {"it did not come back for 0.2 s" in failure.error for failure in failures} == {True}
    assert [plugin.hook for plugin in app.host.refused] == ["store_result"]


def test_nothing_is_left_of_an_alarm() -> None:
    watch = Watch("a", "b", "c", 60.0, lambda _: None)
    inside = watch.run(lambda: signal.getitimer(signal.ITIMER_REAL))
    assert 0 < inside[0] <= 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_comes_as_a_call_returns_hits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = watch_module.monotonic, []

    def slow_the_second_time() -> float:
        asked.append(None)
        end = real() + LIMIT
        while len(asked) == 2 and real() < end:
            pass
        return real()

    monkeypatch.setattr(watch_module, "monotonic", slow_the_second_time)
    host = hosts(good=lambda: time.sleep(LIMIT * 0.75) or ["answer"])
    assert host.all("worker_types") == [("good", ["answer"])]
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert host.refused == []


@pytest.mark.parametrize("broken_off", [1, 2], ids=["as it begins", "as it ends"])
def test_a_call_that_a_signal_breaks_off_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, broken_off: int
) -> None:
    real, asked = watch_module._signal.setitimer, []

    def interrupted(which: int, seconds: float) -> tuple[float, float]:
        asked.append(None)
        answer = real(which, seconds)
        if len(asked) == broken_off:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(watch_module._signal, "setitimer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hosts(a=list).all("worker_types")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    began = len(asked)
    assert hosts(a=list).all("worker_types") == [("a", [])]
    assert len(asked) == began + 2  # nothing is set for one that is over
    assert watch_module._innermost is None


def test_a_regular_expression_that_finds_no_end_is_cut_off() -> None:
    host = hosts(bad=lambda: [re.match("(a+)+$", "a" * 40 + "b")])
    assert host.all("worker_types") == []
    assert [refused.name for refused in host.refused] == ["bad"]


STOPPED = """
import os, subprocess, time
from mahavishnu_core.watch import HookBlocked, Watch

def healthy():
    for _ in range(40):
        time.sleep(0.01)
    return "came back"

pid = os.getpid()
stop = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -STOP {pid}; sleep 2; kill -CONT {pid}"])
print(Watch("p", "s", "h", 1.0, lambda blocked: None).run(healthy))
stop.wait()
"""


@pytest.mark.thorough
def test_a_stop_of_the_whole_process_brings_no_interrupt_closer() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("came back\n", 0), done.stderr
