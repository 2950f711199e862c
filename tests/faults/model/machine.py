"""The rules: what users, agents and bad luck do, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from .steps import GRACE, Steps, Way
from .task import Kind

MOST_WORKERS, MOST_TASKS, MOST_KEEPERS = 6, 12, 3


def _one(choices: Callable[[Machine], Iterable[str]]) -> st.SearchStrategy[str]:
    """One of what there is at this moment."""
    return st.runner().flatmap(lambda machine: st.sampled_from(list(choices(machine))))


ENGINE = _one(lambda machine: sorted(machine.model.engines))
WORKER = _one(lambda machine: machine.model.workers)
FREE = _one(lambda machine: machine.free)
UNFREE = _one(lambda machine: machine.unfree)
TASK = _one(lambda machine: machine.model.tasks)
RUNNING = _one(lambda machine: [task.name for task in machine.model.running])
WAITING = _one(lambda machine: [task.name for task in machine.model.waiting])
CODE = st.sampled_from([0, 3])
WAY = st.sampled_from(["execute", "submit"])

has_engine = precondition(lambda machine: machine.model.engines)
has_running = precondition(lambda machine: machine.model.running)
has_waiting = precondition(lambda machine: machine.model.waiting)
has_tasks = precondition(lambda machine: machine.model.tasks)
has_free = precondition(lambda machine: machine.free and len(machine.model.tasks) < MOST_TASKS)
may_spawn = precondition(
    lambda machine: len(machine.model.workers) < MOST_WORKERS and len(machine.model.tasks) < MOST_TASKS
)
has_unfree = precondition(lambda machine: machine.unfree)
may_lose_keeper = precondition(lambda machine: machine.may_lose_keeper)


class Machine(Steps):
    """All rules with what they need to make sense."""

    # --- engines

    @initialize(
        limit=st.integers(1, 2), engines=st.integers(1, 2), ways=st.lists(WAY, min_size=1, max_size=4)
    )
    def begin(self, limit: int, engines: int, ways: list[Way]) -> None:
        self.open(limit)
        for _ in range(engines):
            self.do_start_engine()
        for number, way in enumerate(ways, 1):
            self.do_spawn("e1")
            self.do_give("e1", f"w{number}", way)

    @precondition(lambda machine: len(machine.model.engines) < machine.engines_wanted)
    @rule()
    def start_engine(self) -> None:
        self.do_start_engine()

    @has_engine
    @rule(engine=ENGINE)
    def kill_engine(self, engine: str) -> None:
        self.world.kill_engine(engine)
        self.comes_to(self.model.killed(engine))

    @precondition(lambda machine: machine.stoppable)
    @rule(engine=_one(lambda machine: machine.stoppable))
    def stop_engine(self, engine: str) -> None:
        """Ends what it carries out first, as the command line does."""
        self.world.call(engine, "cancel_all", grace=GRACE)
        for task in self.model.carried_by(engine):
            self.world.answer(engine, self.awaited[engine, task.name])
        self.world.leave(engine)
        self.comes_to(self.model.left(engine))

    @precondition(lambda machine: machine.hurried)
    @rule(engine=_one(lambda machine: machine.hurried))
    def leave_engine(self, engine: str) -> None:
        """Goes away from what it carries out."""
        self.world.leave(engine)
        self.comes_to(self.model.left(engine))

    @precondition(lambda machine: machine.model.running and machine.keepers_killed < MOST_KEEPERS)
    @may_lose_keeper
    @rule()
    def kill_keeper(self) -> None:
        self.keepers_killed += 1
        self.let_hear()  # whoever has not heard of an end asks the next keeper
        self.world.kill_keeper()
        self.comes_to(self.model.keeper_killed(), heard=True)

    @precondition(lambda machine: machine.model.has_keeper and machine.keepers_killed < MOST_KEEPERS)
    @has_running
    @rule()
    def leave_agents_alone(self) -> None:
        """Kill the keeper, and whoever would call for another one."""
        self.keepers_killed += 1
        self.let_hear()
        for engine in self.model.callers:
            self.world.kill_engine(engine)
            self.model = self.model.killed(engine)
        self.world.kill_keeper()
        self.comes_to(self.model.keeper_killed())

    # --- workers and tasks

    @has_engine
    @may_spawn
    @rule(engine=ENGINE)
    def spawn(self, engine: str) -> None:
        self.do_spawn(engine)

    @has_engine
    @has_free
    @rule(engine=ENGINE, worker=FREE)
    def execute(self, engine: str, worker: str) -> None:
        self.do_give(engine, worker, "execute")

    @has_engine
    @has_free
    @rule(engine=ENGINE, worker=FREE)
    def submit(self, engine: str, worker: str) -> None:
        self.do_give(engine, worker, "submit")

    @has_engine
    @may_spawn
    @rule(engine=ENGINE, way=WAY)
    def give_to_new_worker(self, engine: str, way: Way) -> None:
        self.do_spawn(engine)
        self.do_give(engine, list(self.model.workers)[-1], way)

    @has_engine
    @has_unfree
    @rule(engine=ENGINE, worker=UNFREE, way=WAY)
    def give_in_vain(self, engine: str, worker: str, way: Way) -> None:
        answer = self.world.call(engine, way, which=self.checks.ids[worker], prompt="in vain")
        assert answer.get("error") == self.model.refusal(worker), answer
        self.comes_to(self.model)

    @has_engine
    @has_tasks
    @rule(engine=ENGINE, task=TASK)
    def cancel(self, engine: str, task: str) -> None:
        self.do_cancel(engine, task)

    @has_engine
    @has_waiting
    @rule(engine=ENGINE, task=WAITING)
    def cancel_before_it_begins(self, engine: str, task: str) -> None:
        self.do_cancel(engine, task)

    @has_engine
    @rule(engine=ENGINE, worker=WORKER)
    def close(self, engine: str, worker: str) -> None:
        answer = self.world.call(engine, "close", which=self.checks.ids[worker], grace=GRACE)
        assert answer.get("answer") == self.model.workers[worker], "whether it was open"
        self.comes_to(self.model.closed(engine, worker), heard=True)

    @has_engine
    @rule(engine=ENGINE)
    def collect(self, engine: str) -> None:
        self.do_collect(engine)

    @has_engine
    @has_running
    @rule(engine=ENGINE, task=RUNNING)
    def wait_for(self, engine: str, task: str) -> None:
        self.awaited.setdefault(
            (engine, task), self.world.engines[engine].ask("wait", which=self.checks.id_of(task))
        )
        self.comes_to(self.model.read_along(engine, task), heard=True)

    # --- agents

    @has_running
    @rule(task=RUNNING, kind=st.sampled_from(["text", "text", "success", "failure"]), is_heard=st.booleans())
    def say(self, task: str, kind: Kind, is_heard: bool) -> None:
        """With a pause in which those who follow it read that, or without."""
        self.do_say(task, kind)
        if is_heard:
            self.until_told(task)

    @has_running
    @rule(task=RUNNING, code=CODE)
    def answer(self, task: str, code: int) -> None:
        """As agents do: a last word, and out."""
        self.do_say(task, "failure" if code else "success")
        self.do_exit(task, code)

    @has_running
    @rule(task=RUNNING)
    def ignore_term(self, task: str) -> None:
        self.world.order(self.checks.id_of(task), "ignore SIGTERM")
        self.comes_to(self.model.deafened(task))

    @has_running
    @rule(task=RUNNING, code=CODE)
    def exit(self, task: str, code: int) -> None:
        self.do_exit(task, code)

    # --- two things at once

    @has_engine
    @has_running
    @rule(engine=ENGINE, task=RUNNING, code=CODE)
    def exit_as_cancelled(self, engine: str, task: str, code: int) -> None:
        call = self.world.engines[engine].ask("cancel", which=self.checks.id_of(task), grace=GRACE)
        self.world.order_exit(self.checks.id_of(task), code)
        assert self.world.answer(engine, call).get("error") is None
        self.comes_to(self.model.ended_as_cancelled(engine, task, code), heard=True)

    @precondition(lambda machine: machine.model.running and machine.idle)
    @rule(engine=_one(lambda machine: machine.idle), task=RUNNING, code=CODE)
    def exit_as_engine_dies(self, engine: str, task: str, code: int) -> None:
        self.world.order_exit(self.checks.id_of(task), code)
        self.world.kill_engine(engine)
        self.comes_to(self.model.exited_as_engine_died(engine, task, code))

    @precondition(lambda machine: machine.model.running and not machine.model.waiting)
    @may_lose_keeper
    @rule(task=RUNNING, code=CODE)
    def exit_as_keeper_dies(self, task: str, code: int) -> None:
        self.let_hear()
        self.world.order_exit(self.checks.id_of(task), code)
        self.world.kill_keeper()
        self.comes_to(self.model.exited_as_keeper_died(task, code), heard=True)
