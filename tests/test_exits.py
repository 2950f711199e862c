"""What plugins raise to end the program ends their own call; what is raised for the program passes."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trio

from mahavishnu_core import Task, Worker, WorkerManager, WorkerResult, hookimpl
from mahavishnu_core import host as host_module
from mahavishnu_core.asking import diagnose
from mahavishnu_core.engine import open_engine
from mahavishnu_core.errors import PluginError
from mahavishnu_core.events import Event
from mahavishnu_core.health import Check
from mahavishnu_core.host import awaited, load_plugins
from mahavishnu_core.models import JSON, Exit
from tests.fakes import ANSWER, FakePlace, FakeStorage, app_of, hosts
from tests.installed import opened


class Own(BaseException):
    """Some library's own, as that by which asyncio cancels."""


ENDS = [SystemExit, GeneratorExit, Own]
any_end = pytest.mark.parametrize("end", ENDS)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Ctrl-C as Python has it, and all handlers afterwards as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def raises(end: type[BaseException]) -> Callable[[], object]:
    def act() -> object:
        raise end("no luck")

    return act


def at_once(end: type[BaseException]) -> Callable[[], object]:
    async def act() -> None:
        raise end("no luck")

    return act


def later(end: type[BaseException]) -> Callable[[], object]:
    async def act() -> None:
        await trio.lowlevel.checkpoint()
        raise end("no luck")

    return act


def in_a_nursery(end: type[BaseException]) -> Callable[[], object]:
    async def fail() -> None:
        raise end("no luck")

    async def act() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    return act


async_acts = pytest.mark.parametrize("acting", [at_once, later, in_a_nursery])


# --- hooks


@any_end
def test_g1_an_import_that_would_end_the_program_is_refused(end: type[BaseException], tmp_path: Path) -> None:
    with opened(tmp_path / "site") as site:
        site.install("bad", f"class Own(BaseException): ...\nraise {end.__name__}('no luck')\n")
        site.install("good")
        host = load_plugins({"MAHAVISHNU_PLUGINS": "bad,good"})
    assert [plugin.name for plugin in host.loaded] == ["core", "good"]
    assert [(plugin.name, plugin.reason) for plugin in host.refused] == [("bad", f"{end.__name__}: no luck")]


@any_end
def test_g3_a_hook_that_would_end_the_program_is_named_and_the_others_answer(
    end: type[BaseException],
) -> None:
    host = hosts(a=lambda: ["first"], bad=raises(end), z=lambda: ["last"])
    assert dict(host.all("worker_types")) == {"a": ["first"], "z": ["last"]}
    assert [(plugin.name, plugin.reason) for plugin in host.refused] == [
        ("bad", f"worker_types failed: {end.__name__}: no luck")
    ]
    assert hosts(bad=raises(end), good=lambda: "answer").ask("spawn") == "answer"
    with pytest.raises(PluginError) as caught:
        hosts(bad=raises(end)).ask("spawn")
    assert str(caught.value) == f"plugin 'bad' (mahavishnu-core) failed in spawn: {end.__name__}: no luck"
    assert isinstance(caught.value.__cause__, end)


@any_end
@async_acts
async def test_g3_a_coroutine_that_would_end_the_program_has_failed(
    end: type[BaseException], acting: Callable[[type[BaseException]], Callable[[], object]]
) -> None:
    with pytest.raises(PluginError) as caught:
        await awaited(hosts(bad=acting(end)).ask("spawn"), object)
    assert str(caught.value) == f"plugin 'bad' (mahavishnu-core) failed in spawn: {end.__name__}: no luck"


@any_end
@pytest.mark.parametrize("acting", [raises, later])
async def test_g3_asked_together_the_others_are_heard(
    tmp_path: Path,
    end: type[BaseException],
    acting: Callable[[type[BaseException]], Callable[[], object]],
) -> None:
    async def good() -> list[Check]:
        return [Check("good", "ok", "well")]

    class Diagnosed:
        def __init__(self, act: Callable[[], object]) -> None:
            self.act = act

        @hookimpl
        def diagnose(self) -> object:
            return self.act()

    async with open_engine(app_of(tmp_path, bad=Diagnosed(acting(end)), good=Diagnosed(good)), 1) as engine:
        checks = {check.subject: check for check in await diagnose(engine, [])}
    assert {name: check.grade for name, check in checks.items()} == {"good": "ok", "plugin bad": "warning"}
    assert f"{end.__name__}: no luck" in checks["plugin bad"].detail


# --- a task


class Bad(FakePlace):
    """An agent and its place, which raise where they are told to."""

    def __init__(self, nursery: trio.Nursery, where: str, end: type[BaseException]) -> None:
        super().__init__(nursery)
        self.where, self.end = where, end

    def reach(self, where: str) -> None:
        if self.where == where:
            raise self.end("no luck")

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> object:
        self.reach("execute")
        return super().execute(worker, task)

    @hookimpl
    def launch(self, worker: Worker, task: Task) -> Awaitable[object]:  # type: ignore[override]
        self.reach("launch")
        return self.launched(task)

    async def launched(self, task: Task) -> object:
        run = await self._launch(task)
        self.reach("a step of launch")
        return run

    @hookimpl
    def parse_progress(self) -> object:  # type: ignore[override]
        return BadParser(self)


class BadParser:
    def __init__(self, plugin: Bad) -> None:
        self.plugin = plugin

    def feed(self, lines: list[object]) -> Iterator[Event]:
        self.plugin.reach("feed")
        return iter(())

    def end(self, exit: Exit, stderr: str) -> Iterator[Event]:
        self.plugin.reach("end")
        yield from ()


WHERE = {
    "execute": "execute",
    "launch": "launch",
    "a step of launch": "launch",
    "feed": "its parser",
    "end": "its parser",
}


@any_end
@pytest.mark.parametrize("where", WHERE)
async def test_g7_an_agent_that_would_end_the_program_fails_its_task(
    nursery: trio.Nursery, tmp_path: Path, where: str, end: type[BaseException]
) -> None:
    told: list[str] = []
    async with WorkerManager(app_of(tmp_path, fake=Bad(nursery, where, end))) as manager:
        manager.observe(lambda event: told.append(getattr(event.event, "text", "")))
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
    words = f"plugin 'fake' (mahavishnu-core) failed in {WHERE[where]}: {end.__name__}: no luck"
    assert not result.is_success()
    assert any(words in text for text in (str(result.error), *told))


@any_end
@pytest.mark.parametrize("acting", [raises, at_once, later, in_a_nursery])
async def test_g3_a_storage_that_would_end_the_program_is_named_and_the_other_has_the_result(
    nursery: trio.Nursery,
    tmp_path: Path,
    end: type[BaseException],
    acting: Callable[[type[BaseException]], Callable[[], object]],
) -> None:
    class Storage:
        @hookimpl
        def store_result(self) -> object:
            return acting(end)()

    good = FakeStorage()
    app = app_of(tmp_path, fake=FakePlace(nursery, lambda _: ANSWER), bad=Storage(), good=good)
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        result = await manager.execute_task(worker_id, "go")
        (failure,) = manager.storage_failures
    assert (result.is_success(), len(good.kept)) == (True, 1)
    words = f"plugin 'bad' (mahavishnu-core) failed in store_result: {end.__name__}: no luck"
    assert (failure.storage, failure.error) == ("bad", words)


async def test_what_a_storage_answers_is_not_closed_unless_it_is_a_coroutine(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    class Answer:
        def close(self) -> None:
            raise SystemExit(0)

        def __await__(self) -> Iterator[None]:
            yield from ()

    class Storage:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        @hookimpl
        def store_result(self, result: WorkerResult) -> object:
            return self.answer

    class Plain:
        close = Answer.close

    app = app_of(tmp_path, fake=FakePlace(nursery), a=Storage(Answer()), b=Storage(Plain()))
    async with WorkerManager(app) as manager:
        (worker_id,) = await manager.spawn_workers("fake")
        await manager.execute_task(worker_id, "go")
        failures = {failure.storage: failure.error for failure in manager.storage_failures}
    assert failures == {"b": "a hook answered Plain where an awaitable is due"}


# --- what is not the plugin's


def presses_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def presses_ctrl_c_in_a_finally() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise
    finally:
        time.sleep(0)


@pytest.mark.parametrize("act", [presses_ctrl_c, presses_ctrl_c_in_a_finally])
def test_ctrl_c_passes_through_a_hook(act: Callable[[], None]) -> None:
    with pytest.raises(KeyboardInterrupt):
        hosts(a=act).all("worker_types")
    with pytest.raises(KeyboardInterrupt):
        hosts(a=act).ask("spawn")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_the_programs_own_handler_raises_passes_through_a_hook(end: type[BaseException]) -> None:
    def handler(number: int, frame: object) -> None:
        raise end

    signal.signal(signal.SIGTERM, handler)
    with pytest.raises(end):
        hosts(a=lambda: signal.raise_signal(signal.SIGTERM)).all("worker_types")


@pytest.mark.parametrize("only_at_checkpoints", [True, False])
def test_ctrl_c_passes_through_a_coroutine_as_trio_raises_it(only_at_checkpoints: bool) -> None:
    async def act() -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    async def ask() -> None:
        await awaited(hosts(a=act).ask("spawn"), object)

    with pytest.raises(KeyboardInterrupt):
        trio.run(ask, restrict_keyboard_interrupt_to_checkpoints=only_at_checkpoints)


async def test_cancelling_passes_beside_what_would_end_the_program() -> None:
    async def leave() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit("no luck")

    async def act() -> Mapping[str, JSON]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await trio.sleep_forever()

    async def ask() -> None:
        with trio.move_on_after(0):
            await awaited(hosts(bad=act).ask("spawn"), object)

    with pytest.raises(ExceptionGroup) as caught:
        await ask()
    assert caught.group_contains(PluginError, match="failed in spawn: SystemExit: no luck")
    assert not caught.group_contains(SystemExit)


def test_one_that_swallows_an_interrupt_and_exits_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "HOOK_LIMIT", 0.2)

    def act() -> None:
        try:
            time.sleep(10**6)
        except BaseException:
            raise SystemExit(0) from None

    host = hosts(bad=act)
    with pytest.raises(PluginError, match="was cut off in spawn"):
        host.ask("spawn")
    assert [plugin.hook for plugin in host.refused] == ["spawn"]
