"""What is promised, in plain values: each step gives the next state of things.

Names are the test's own: engines ``e1``, ``e2``, workers ``w1``, tasks ``w1.1``. A step that may go two ways
leaves a task with several ends, all of which are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from .task import BY_LOSS, End, Ended, Left, Phase, Saying, Task

_AT_KEEPER = {Phase.QUEUED, Phase.RUNNING}


@attrs.frozen
class Model:
    """All that is known at one moment."""

    limit: int
    engines: frozenset[str] = frozenset()
    """Those that live."""
    born: int = 0
    """How many engines there have been."""
    workers: Mapping[str, bool] = attrs.field(factory=dict)
    """Whether each is open."""
    tasks: Mapping[str, Task] = attrs.field(factory=dict)
    """In the order in which they were given."""
    queue: tuple[str, ...] = ()
    """What waits at the keeper, in the order in which it will begin."""
    has_keeper: bool = False
    """Whether there is one, or nothing that it would have to keep."""

    # --- what there is

    def where(self, holds: Callable[[Task], object]) -> list[Task]:
        return [task for task in self.tasks.values() if holds(task)]

    @property
    def running(self) -> list[Task]:
        return self.where(lambda task: task.phase is Phase.RUNNING)

    @property
    def waiting(self) -> list[Task]:
        return self.where(lambda task: task.phase in {Phase.WAITING, Phase.QUEUED})

    @property
    def callers(self) -> list[str]:
        """The engines that call for another keeper as soon as this one is gone."""
        at_keeper = self.where(lambda task: task.phase in _AT_KEEPER)
        return sorted({engine for task in at_keeper for engine in task.watchers})

    def last(self, worker: str) -> Task | None:
        own = self.where(lambda task: task.worker == worker)
        return own[-1] if own else None

    def refusal(self, worker: str) -> str | None:
        """The error with which another task for a worker is refused, if it is."""
        last = self.last(worker)
        if not self.workers[worker]:
            return "UsageError"
        return "WorkerBusy" if last is not None and not last.is_settled else None

    def carried_by(self, engine: str) -> list[Task]:
        """What an engine has in its own hands until it has ended."""
        mine = self.where(lambda task: task.engine == engine and not task.is_detached)
        return (
            [task for task in mine if not task.is_over or task.takes_slot] if engine in self.engines else []
        )

    # --- engines

    def started(self) -> Model:
        """One more engine, which first takes up what there is."""
        name = f"e{self.born + 1}"
        return attrs.evolve(self, engines=self.engines | {name}, born=self.born + 1).recovered(name)

    def recovered(self, engine: str) -> Model:
        """An engine looks at all that has something left to do."""
        model = self
        for task in self.tasks.values():
            if task.phase is Phase.LOST:
                model = model._kept()._ended(task.name, (Ended(BY_LOSS),))
            elif task.is_over:
                is_clear = task.is_settled or task.is_kept  # from the files alone
                model = (model if is_clear else model._kept())._with(task, is_settled=True)
            elif task.phase is Phase.RUNNING or (
                task.phase is Phase.QUEUED and task.engine not in self.engines
            ):
                model = model.watched(engine, task.name)
        return model

    def read_along(self, engine: str, name: str) -> Model:
        """An engine waits for the result of a task that runs."""
        task = self.tasks[name]
        return self._with(task, readers=task.readers | {engine}).watched(engine, name)

    def watched(self, engine: str, name: str) -> Model:
        """An engine asks the keeper for a task, and will ask the next one."""
        task = self.tasks[name]
        return self._kept()._with(task, watchers=task.watchers | {engine})

    def killed(self, engine: str) -> Model:
        """Its agents go on; what it would have begun nobody begins, but for what was submitted."""
        model = attrs.evolve(self, engines=self.engines - {engine})
        for task in self.carried_by(engine):
            if task.phase in {Phase.WAITING, Phase.QUEUED}:
                model = model._unqueued(task.name)._with(task, phase=Phase.LOST)
        return model._without(engine)

    def left(self, engine: str) -> Model:
        """An engine ends in good order, and before that what it carries out."""
        model = attrs.evolve(self, engines=self.engines - {engine})
        for task in self.carried_by(engine):
            if not task.is_over:
                model = model._ended(task.name, task.cancelled_ends)
        return model._without(engine)._begun()

    def _without(self, engine: str) -> Model:
        model = self
        for task in self.tasks.values():
            watchers, readers = task.watchers - {engine}, task.readers - {engine}
            takes_slot = task.takes_slot and task.engine != engine
            model = model._with(task, watchers=watchers, readers=readers, takes_slot=takes_slot)
        return model

    # --- workers and tasks

    def spawned(self) -> Model:
        return attrs.evolve(self, workers={**self.workers, f"w{len(self.workers) + 1}": True})

    def given(self, engine: str, worker: str, prompt: str, *, is_detached: bool) -> Model:
        last = self.last(worker)
        number = int(last.name.partition(".")[2]) + 1 if last else 1
        task = Task(f"{worker}.{number}", worker, engine, prompt, is_detached, takes_slot=not is_detached)
        model = attrs.evolve(self, tasks={**self.tasks, task.name: task})
        return model._launched(task.name) if is_detached else model._slots_filled()

    def said(self, name: str, saying: Saying) -> Model:
        task = self.tasks[name]
        return self._with(task, said=(*task.said, saying))

    def deafened(self, name: str) -> Model:
        return self._with(self.tasks[name], is_deaf=True)

    def exited(self, name: str, code: int) -> Model:
        """An agent ends by itself. Whoever carries it out settles it; else the next one who looks."""
        task = self.tasks[name]
        is_followed = bool(task.readers) or (not task.is_detached and task.engine in self.engines)
        model = self._ended(name, (Left(code, not task.was_lost),), is_settled=is_followed)
        return model._begun()

    def cancelled(self, engine: str, name: str) -> Model:
        task = self.tasks[name]
        is_own_matter = task.phase is Phase.WAITING and engine == task.engine
        begin = self if task.is_settled or is_own_matter else self._kept()
        model = (
            begin._with(task, is_settled=True) if task.is_over else begin._ended(name, task.cancelled_ends)
        )
        if engine == task.engine:  # it does not wait for a slot to see that
            model = model._with(task, takes_slot=False)
        return model._begun()

    def closed(self, engine: str, worker: str) -> Model:
        last = self.last(worker)
        is_idle = not self.workers[worker] or last is None or last.is_settled
        model = self if is_idle else self.cancelled(engine, last.name)
        return attrs.evolve(model, workers={**self.workers, worker: False})

    def ended_as_cancelled(self, engine: str, name: str, code: int) -> Model:
        """An agent ends by itself in the moment in which it is cancelled: whichever was first."""
        task = self.tasks[name]
        model = self.cancelled(engine, name)
        ways: list[End] = [Left(code, not task.was_lost), *model.tasks[name].ends]
        if not task.was_lost:
            ways.append(Ended(frozenset({"cancelled"}), code=code))  # it was faster than the signal
        return model._with(task, ends=tuple(ways))

    def exited_as_engine_died(self, engine: str, name: str, code: int) -> Model:
        """It may have been settled by then."""
        model = self.killed(engine).exited(name, code)
        was_followed = engine in self.tasks[name].readers or self.tasks[name].engine == engine
        is_settled = True if model.tasks[name].is_settled else None if was_followed else False
        return model._with(self.tasks[name], is_settled=is_settled)

    def exited_as_keeper_died(self, name: str, code: int) -> Model:
        """Its exit may have been seen and written down by then."""
        task = self.tasks[name]
        ways = (
            (Left(code, is_seen=False),)
            if task.was_lost
            else (Left(code, is_seen=True), Left(code, is_seen=False))
        )
        model = self.keeper_killed().exited(name, code)
        return model._with(task, ends=ways, is_kept=True if model.has_keeper else None)

    # --- the keeper

    def keeper_killed(self) -> Model:
        """Agents go on. Engines ask the next keeper for what they watch, and have it queue what waited.

        Where none of them watches anything there is no next keeper until one has something to say to it.
        """
        model = attrs.evolve(self, has_keeper=False)
        for task in self.tasks.values():
            if task.phase is Phase.RUNNING:
                model = model._with(task, was_lost=True, is_kept=False)
            elif task.phase is Phase.QUEUED and task.engine not in self.engines:
                model = model._unqueued(task.name)._with(task, phase=Phase.LOST)
        return model._kept() if self.callers else model

    def _kept(self) -> Model:
        """There is a keeper: a new one takes up all that the last one left, before anything else."""
        model = attrs.evolve(self, has_keeper=True)
        for task in self.where(lambda task: task.was_lost):
            model = model._with(task, is_kept=True)
        return model

    # --- how one thing leads to another

    def _with(self, task: Task, **changes: object) -> Model:
        return attrs.evolve(
            self, tasks={**self.tasks, task.name: attrs.evolve(self.tasks[task.name], **changes)}
        )

    def _ended(self, name: str, ends: tuple[End, ...], *, is_settled: bool = True) -> Model:
        return self._unqueued(name)._with(
            self.tasks[name], phase=Phase.OVER, ends=ends, is_settled=is_settled
        )

    def _unqueued(self, name: str) -> Model:
        return attrs.evolve(self, queue=tuple(other for other in self.queue if other != name))

    def _launched(self, name: str) -> Model:
        task = self.tasks[name]
        watchers = task.watchers | {task.engine}
        model = self._kept()._with(task, phase=Phase.QUEUED, takes_slot=False, watchers=watchers)
        return attrs.evolve(model, queue=(*model.queue, name))._begun()

    def _begun(self) -> Model:
        """The keeper begins as many as the limit allows, then engines fill the slots that are free by now."""
        model = self
        while model.queue and len(model.running) < self.limit:
            first, *rest = model.queue
            model = attrs.evolve(model, queue=tuple(rest))
            model = model._with(model.tasks[first], phase=Phase.RUNNING, is_kept=True)
        return model._slots_filled()

    def _slots_filled(self) -> Model:
        for task in self.where(lambda task: task.takes_slot and task.engine in self.engines):
            if len(self._holding(task.engine)) < self.limit:
                if task.is_over:
                    return self._with(task, takes_slot=False)._slots_filled()
                return self._launched(task.name)
        return self

    def _holding(self, engine: str) -> list[Task]:
        """What holds a slot of an engine."""
        return [task for task in self.carried_by(engine) if task.phase in _AT_KEEPER]
