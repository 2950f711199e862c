"""Drives a soak: engines that come and go, troubles, and in the end what has to hold."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import attrs
import trio

from mahavishnu_core.keeper.files import names
from tests.faults.site import Site

from . import checks
from .engines import Engine, start
from .journal import Journal
from .load import Given, Load, worker_types
from .series import KeeperSeries
from .troubles import Rates, Troubles

_CALM = Rates(kill=2.0, kill_keeper=25.0, interrupt=4.0, flap=8.0)
_WILD = Rates(kill=0.4, kill_keeper=2.0, interrupt=3.0, flap=15.0)
_LOOK_EVERY = 1.0
_END_PATIENCE = 90.0
"""Seconds in which engines end by themselves when nothing new is given: tasks have less."""
_SETTLE_PATIENCE = 120.0
_RECENT = 60
"""How many of the workers that there are may be gone on with."""


@attrs.frozen
class Plan:
    """How long a soak goes on: for some minutes or, where ``kills`` is not 0, until so many have happened."""

    seed: int
    minutes: float = 4.0
    width: int = 20
    kills: int = 0


@attrs.frozen
class Report:
    """What came of a soak."""

    seconds: float
    faults: list[str]
    lines: list[str]
    """What is worth knowing of it."""


@attrs.define(eq=False)
class Soak:
    """One soak, in a directory of its own."""

    site: Site
    plan: Plan
    secrets: dict[str, str]
    journal: Journal
    load: Load
    troubles: Troubles
    series: KeeperSeries
    running: dict[int, Engine]
    printed: Path
    """Where the output of engines is."""
    faults: list[str] = attrs.field(factory=list)
    _began: float = attrs.field(factory=time.monotonic)
    _engines: int = 0
    _statuses: Counter[int] = attrs.field(factory=Counter)
    _killed_at_work: int = 0
    _is_over: bool = False

    async def run(self) -> Report:
        """Give, trouble, let everything end, and look what there is."""
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self.series.watch)
                watching.start_soon(self._look)
                await self._rage()
                watching.cancel_scope.cancel()
        finally:
            for engine in self.running.values():  # one that hangs, or that we can no longer follow
                engine.process.kill()
        raged = time.monotonic() - self._began
        await self._settle()
        self.faults += self._check()
        return Report(raged, self.faults, list(self._told(raged)))

    async def _rage(self) -> None:
        with trio.move_on_after(self._most_seconds() + _END_PATIENCE) as scope:
            async with trio.open_nursery() as giving:
                for _ in range(max(4, self.plan.width // 2)):
                    giving.start_soon(self._give)
                with trio.move_on_after(self._most_seconds()):
                    await self._trouble()
                self._is_over = True
        if self.troubles.kills < self.plan.kills:
            self.faults.append(f"there was time for {self.troubles.kills} kills only")
        if scope.cancelled_caught:
            self.faults += [f"{engine}: it has not ended" for engine in self.running.values()]

    def _most_seconds(self) -> float:
        return 1.0 * self.plan.kills + 60 if self.plan.kills else self.plan.minutes * 60

    async def _trouble(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.troubles.kill_engines)
            keeper_kills = await nursery.start(self.troubles.kill_keepers)
            nursery.start_soon(self.troubles.interrupt_engines)
            nursery.start_soon(self.troubles.flap)
            if self.plan.kills:
                await self.troubles.killed(self.plan.kills)
            else:
                await trio.sleep(self.plan.minutes * 60 / 3)
                # from now on one keeper lives, long enough for its figures to say something
                keeper_kills.cancel()
                nursery.start_soon(self.series.accompany)
                await trio.sleep(self.plan.minutes * 60 * 2 / 3)
            nursery.cancel_scope.cancel()

    async def _give(self) -> None:
        while not self._is_over:
            recent = list(self.journal.workers.items())[-_RECENT:]
            await self._carry_out(self.load.choose(recent))

    async def _carry_out(self, given: Given) -> Engine:
        self._engines += 1
        engine = await start(self.site, self.printed, self._engines, given)
        self.running[engine.number] = engine
        await engine.process.wait()
        del self.running[engine.number]
        self._statuses[engine.process.returncode] += 1
        self._killed_at_work += signal.SIGKILL in engine.signals and engine.has_spoken
        self.faults += [*engine.faults(), *self.journal.listen(engine)]
        return engine

    async def _look(self) -> None:
        while True:
            self.journal.look(self.site.app.state)
            await trio.sleep(_LOOK_EVERY)

    async def _settle(self) -> None:
        """Have all that is under way end by itself, and all of it stored."""
        state = self.site.app.state
        with trio.move_on_after(_SETTLE_PATIENCE) as scope:
            while True:
                engine = await self._carry_out(Given(("results", "sync")))
                self.journal.look(state)
                if engine.process.returncode == 0 and not list(state.open_tasks()):
                    break
                await trio.sleep(0.5)
        if scope.cancelled_caught:
            waiting = [task.task_id for task in state.open_tasks()]
            self.faults.append(f"after {_SETTLE_PATIENCE:g} s there are still tasks open: {waiting}")
        await self._carry_out(Given(("workers", "close", "--all")))

    def _check(self) -> Iterator[str]:
        secrets = tuple(self.secrets.values())
        yield from checks.faults(
            checks.Scene(self.site, self.journal, self.load.starts, secrets, self.printed)
        )
        yield from self.series.faults()
        yield from checks.nothing_is_left(self.site, self.troubles.kills)

    def _told(self, raged: float) -> Iterator[str]:
        state = self.site.app.state
        tasks = [task for worker_id in names(f"{state.root}/workers") for task in state.tasks(worker_id)]
        statuses = Counter(result.status.value for task in tasks if (result := state.result(task)))
        yield f"{raged:.0f} s, {self._engines} engines, {len(tasks)} tasks: {_counted(statuses)}"
        yield f"{self.troubles.kills} kills; {_counted(self.troubles.counts)}"
        yield f"{self._killed_at_work} engines were killed with tasks under way"
        yield f"exit statuses of engines: {_counted(self._statuses)}"
        yield f"printed: {len(self.journal.printed)} tasks, {len(self.journal.shown)} results"
        yield f"of killed ones there are still: {_counted(checks.remnants(state.root))}"
        yield from self.series.told()


def _counted(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


async def soak(root: Path, plan: Plan, say: Callable[[str], None] = print) -> Report:
    """A soak in a directory that is empty; the same seed makes the same choices."""
    say(f"soak: seed {plan.seed}, in {root}")
    secrets = _secrets(plan.seed)
    site = Site(root / "site", {**secrets, "MAHAVISHNU_MAX_CONCURRENT_WORKERS": str(plan.width)})
    site.more["MAHAVISHNU_PASS_ENV"] = "SOME_PASSWORD"
    printed, starts = root / "printed", root / "starts"
    printed.mkdir()
    site.types(*worker_types(starts))
    site.app.state.prepare()
    running: dict[int, Engine] = {}
    rates = _WILD if plan.kills else _CALM
    with (root / "journal.jsonl").open("w") as file:
        return await Soak(
            site,
            plan,
            secrets,
            Journal(file),
            Load(site.work, starts, Random(f"{plan.seed} load")),
            Troubles(site.state, running, rates, Random(f"{plan.seed} troubles")),
            KeeperSeries(site.state),
            running,
            printed,
        ).run()


def _secrets(seed: int) -> dict[str, str]:
    """Of the user's; the second is one that workers get."""
    names = ("ANTHROPIC_API_KEY", "SOME_PASSWORD", "GITHUB_TOKEN", "LD_AUDIT_NOTHING", "MAHAVISHNU_MCP_TOKEN")
    return {name: f"canary-{seed}-{number}" for number, name in enumerate(names)}
