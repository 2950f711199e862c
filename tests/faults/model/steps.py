"""Single steps: each is done in the world and in the model, and then the two are compared."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from hypothesis.stateful import RuleBasedStateMachine

from tests.faults.site import Site

from .checks import Checks
from .model import Model
from .task import Kind, Phase, Saying
from .world import World

Way: TypeAlias = Literal["execute", "submit"]
GRACE = 0.2
"""Seconds between TERM and KILL: nobody has to wait long for an agent that ignores TERM."""
_MOST_ENGINES, _MOST_AT_ONCE = 5, 2


class Steps(RuleBasedStateMachine):
    """What rules are made of."""

    model: Model
    world: World
    checks: Checks

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="mahavishnu-model-"))
        self.keepers_killed = 0
        self.awaited: dict[tuple[str, str], int] = {}
        """The calls that return the result of a task, by engine and task."""

    def open(self, limit: int) -> None:
        """Everything begins, with so many tasks that may run at once."""
        self.model = Model(limit)
        self.world = World(Site(self.root / "site"), limit)
        self.checks = Checks(self.world)

    # --- what may be done now

    @property
    def engines_wanted(self) -> int:
        """How many engines at most live at once; to start one takes longer than all else together."""
        return _MOST_AT_ONCE if self.model.born < _MOST_ENGINES else 1

    @property
    def free(self) -> list[str]:
        """The workers that take a task."""
        return [worker for worker in self._certain if not self.model.refusal(worker)]

    @property
    def unfree(self) -> list[str]:
        """The workers that take none."""
        return [worker for worker in self._certain if self.model.refusal(worker)]

    @property
    def _certain(self) -> list[str]:
        """The workers of whose last task it is known whether it has a result."""
        uncertain = {task.worker for task in self.model.where(lambda task: task.is_settled is None)}
        return [worker for worker in self.model.workers if worker not in uncertain]

    @property
    def stoppable(self) -> list[str]:
        """The engines that wait for nothing: what they wait for is ended with what they carry out."""
        waiting = {engine for engine, name in self.awaited if self.model.tasks[name].engine != engine}
        waiting |= {reader for task in self.model.running for reader in task.readers}
        return sorted(self.model.engines - waiting)

    @property
    def hurried(self) -> list[str]:
        """The engines that have no agent for whose death they would wait the whole grace."""
        engines = sorted(self.model.engines)
        return [name for name in engines if not any(task.is_deaf for task in self.model.carried_by(name))]

    @property
    def idle(self) -> list[str]:
        """The engines that have nothing to begin."""
        waiting = {task.engine for task in self.model.waiting}
        return sorted(self.model.engines - waiting)

    @property
    def may_lose_keeper(self) -> bool:
        """Whether there is one, and it is certain in which order the next hears of what waits at it."""
        queued = self.model.where(lambda task: task.phase is Phase.QUEUED)
        heirs = {task.engine for task in queued} & self.model.engines
        return self.model.has_keeper and len(heirs) <= 1

    # --- steps

    def do_start_engine(self) -> None:
        self.world.start_engine(f"e{self.model.born + 1}")
        self.comes_to(self.model.started(), heard=True)

    def do_spawn(self, engine: str) -> None:
        after = self.model.spawned()
        self.checks.ids[list(after.workers)[-1]] = str(self.world.call(engine, "spawn").get("answer"))
        self.comes_to(after)

    def do_give(self, engine: str, worker: str, way: Way) -> None:
        prompt = f"{way} for {worker} by {engine} ☃\n"
        after = self.model.given(engine, worker, prompt, is_detached=way == "submit")
        name = list(after.tasks)[-1]
        call = self.world.engines[engine].ask(way, which=self.checks.ids[worker], prompt=prompt)
        if way == "submit":
            assert self.world.answer(engine, call).get("answer") == self.checks.id_of(name)
        else:
            self.awaited[engine, name] = call
            path = self.world.site.state / "workers" / self.checks.ids[worker] / "tasks"
            self.world.until((path / self.checks.id_of(name)).exists, f"{name} is given")
        self.comes_to(after, heard=True)

    def do_cancel(self, engine: str, task: str) -> None:
        answer = self.world.call(engine, "cancel", which=self.checks.id_of(task), grace=GRACE)
        assert answer.get("error") is None, answer
        self.comes_to(self.model.cancelled(engine, task), heard=True)

    def do_collect(self, engine: str) -> None:
        answer = self.world.call(engine, "collect")
        self.comes_to(self.model.recovered(engine), heard=True)
        settled = [self.checks.result(task) for task in self.model.where(lambda task: task.is_settled)]
        assert sorted(answer["answer"], key=str) == sorted(settled, key=str), "all results, and nothing else"

    def do_say(self, task: str, kind: Kind) -> None:
        saying = Saying(kind, f"{kind} {len(self.model.tasks[task].said) + 1} of {task} ☃")
        self.world.order(self.checks.id_of(task), f"say {json.dumps(saying.line)}")
        self.comes_to(self.model.said(task, saying))

    def until_told(self, name: str) -> None:
        """Wait until all engines that follow a task have told the last event."""
        task = self.model.tasks[name]
        followers = task.readers if task.is_detached else task.readers | {task.engine}
        for engine in followers & self.model.engines:
            has_told = partial(self.checks.has_told_all, self.model, engine, task)
            self.world.until(has_told, f"{engine} has told all of {name}")

    def do_exit(self, task: str, code: int) -> None:
        self.world.order_exit(self.checks.id_of(task), code)
        self.comes_to(self.model.exited(task, code))

    def comes_to(self, model: Model, *, heard: bool = False) -> None:
        """Wait until the world is as the model says.

        ``heard`` is for steps after which engines and keeper may still have something to say to each other,
        and for those after which it is left to chance whether an engine calls for a keeper.
        """
        self.model = model
        if heard:
            self.let_hear()
        self.checks.began_at_most_once(model)
        self._until_those_are_up_that_should(model)
        for task in model.where(lambda task: task.is_over and task.is_kept):
            self.world.until(partial(self.checks.has_ended, task), f"{task.name} is known to have ended")
        for engine, name in list(self.awaited):
            task = model.tasks[name]
            if engine not in model.engines:
                del self.awaited[engine, name]
            elif task.is_over and not (task.engine == engine and task.takes_slot):
                answer = self.world.answer(engine, self.awaited.pop((engine, name)))
                self.checks.answer_is_right(model, task, engine, answer)
        self.checks.all(model)

    def let_hear(self) -> None:
        """Have all engines hear what the keeper has to say. Where there is none this would start one."""
        if self.model.has_keeper:
            for engine in sorted(self.model.engines):
                self.world.call(engine, "hear")

    def _until_those_are_up_that_should(self, model: Model) -> None:
        due = {self.checks.id_of(task.name): task.name for task in model.running}
        try:
            self.world.until(lambda: self.world.up.keys() == due.keys(), "the right agents are up")
        except AssertionError as error:
            known = {self.checks.id_of(name): name for name in model.tasks}
            up = sorted(known.get(task_id, task_id) for task_id in self.world.up)
            raise AssertionError(f"{up} are up, and should be {sorted(due.values())}") from error

    # --- the end

    def teardown(self) -> None:
        """Let everything end, unless a step has failed."""
        try:
            if sys.exc_info()[0] is None:
                self._let_all_end()
        finally:
            self.world.end()
            shutil.rmtree(self.root)

    def _let_all_end(self) -> None:
        if not self.model.engines:
            self.do_start_engine()
        while self.model.running:
            self.do_exit(self.model.running[0].name, 0)
        last, *others = sorted(self.model.engines)
        self.do_collect(last)
        assert all(task.is_settled for task in self.model.tasks.values()), "the model itself is wrong"
        for engine in (*others, last):
            self.world.leave(engine)
        # who is killed while it writes a file of a task leaves a draft of it, which nobody reads
        drafts = f"{self.world.site.state}/workers/"
        left = [each for each in self.world.site.left() if not each.startswith(drafts)]
        assert left == [], f"this is left: {left}"
