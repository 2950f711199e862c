"""What has to hold after each step: the files, the database and what engines tell are as the model says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import attrs

from mahavishnu_core import Task as TaskOnDisk
from mahavishnu_core import WorkerResult
from mahavishnu_core.events import TaskEvent, to_dict
from mahavishnu_core.models import JSON
from mahavishnu_core.output import events_so_far
from mahavishnu_sqlite.record import result_from

from .model import Model
from .task import Phase, Saying, Task
from .world import World


@attrs.define(eq=False)
class Checks:
    """Remembers what was seen, since none of it may change."""

    world: World
    ids: dict[str, str] = attrs.field(factory=dict)
    """What the model's workers are called in the world."""
    ends: dict[str, bytes] = attrs.field(factory=dict)
    """The result of each task, byte for byte, as it was seen first."""
    told: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """How many events of a task an engine has told."""

    def id_of(self, name: str) -> str:
        """What a task of the model's is called in the world."""
        worker, _, number = name.partition(".")
        return f"{self.ids[worker]}.{number}"

    def all(self, model: Model) -> None:
        self.is_within_the_limit()
        self.began_at_most_once(model)
        for task in model.tasks.values():
            self.is_there(task)
            self.is_left_alone(task)
            self.has_its_end(task)
            self.has_its_events(task)
        self.events_are_in_order(model)
        self.is_stored_once(model)

    def is_within_the_limit(self) -> None:
        limit = self.world.limit
        assert self.world.most_up() <= limit, f"more than {limit} were up at once"

    def began_at_most_once(self, model: Model) -> None:
        starts = Counter(self.world.starts())
        assert all(count == 1 for count in starts.values()), f"an agent was started twice: {starts}"
        for task in model.tasks.values():
            if task.phase in {Phase.WAITING, Phase.QUEUED, Phase.LOST}:
                is_begun = self.world.app.state.was_launched(self.on_disk(task))
                assert not is_begun, f"{task.name} was begun, which is {task.phase.name}"
                assert self.id_of(task.name) not in starts, f"the agent of {task.name} was started"

    def is_there(self, task: Task) -> None:
        """What was acknowledged is there, and its agent was given its prompt."""
        assert self.on_disk(task).prompt == task.prompt, f"{task.name} has another prompt"
        given = [agent.prompt for agent in self.world.agents if agent.task_id == self.id_of(task.name)]
        assert given in ([], [task.prompt]), f"the agent of {task.name} was given another prompt"

    def is_left_alone(self, task: Task) -> None:
        """While there is no keeper nobody writes down how an agent has ended."""
        if task.was_lost and task.is_kept is False:
            assert not self.has_ended(task), f"somebody has written down how {task.name} ended"

    def has_its_end(self, task: Task) -> None:
        """One end, one of those that are right, and it stays."""
        end = self.end_of(task)
        if end is None:
            assert not task.is_settled, f"{task.name} has no result"
            assert task.name not in self.ends, f"{task.name} has lost its result"
            return
        result = WorkerResult.from_dict(json.loads(end))
        assert task.is_settled is not False, f"{task.name} has a result: {result}"
        assert self.ends.setdefault(task.name, end) == end, f"{task.name} has another result now"
        assert any(verdict.is_of(result) for verdict in task.verdicts), (
            f"{result}\nis none of {task.verdicts}"
        )
        assert result.metadata["evidence"]["events"] == len(task.said)
        assert result.output == _output(task.said), f"the output of {task.name}"

    def has_its_events(self, task: Task) -> None:
        """Whoever reads them from the files now reads what the agent has said, and nothing else."""
        batches = events_so_far(self.world.app, self.on_disk(task))
        read = [event for events in batches for event in events]
        assert _are_told_as(task.said, [to_dict(TaskEvent("", "", 0, event)) for event in read]), (
            f"{task.name} said {task.said}, and {read} is read"
        )

    def events_are_in_order(self, model: Model) -> None:
        """Each reading counts from 1 without a gap, and a number is the same event for all."""
        names = {self.id_of(name): name for name in model.tasks}
        for engine, process in self.world.engines.items():
            while process.events:
                event = process.events.pop(0)
                name = names[str(event["task_id"])]
                last, seq = self.told.get((engine, name), 0), int(str(event["seq"]))
                assert 1 <= seq <= last + 1, f"{engine} told event {seq} of {name} after {last}"
                said = model.tasks[name].said
                assert _are_told_as(said[seq - 1 : seq], [event]), f"{engine} told {event} of {name}"
                self.told[engine, name] = max(last, seq)  # it may read a task twice at a time

    def has_told_all(self, model: Model, engine: str, task: Task) -> bool:
        self.events_are_in_order(model)
        return self.told.get((engine, task.name), 0) == len(task.said)

    def is_stored_once(self, model: Model) -> None:
        rows = self.world.stored()
        assert max(Counter(row["task_id"] for row in rows).values(), default=1) == 1, "stored twice"
        results = {str(row["task_id"]): result_from(row) for row in rows}
        for task in model.tasks.values():
            end, result = self.end_of(task), results.get(self.id_of(task.name))
            if result is not None:
                assert end is not None, f"what is stored of {task.name} is nowhere else"
                assert result == WorkerResult.from_dict(json.loads(end)), f"{task.name} is stored otherwise"
            else:
                assert not task.is_settled, f"the result of {task.name} is not stored"

    def answer_is_right(self, model: Model, task: Task, engine: str, answer: dict[str, JSON]) -> None:
        """Who waited for a task is told its result, and was told all of its events before that."""
        assert answer.get("answer") == self.result(task), f"{engine} was told {answer} of {task.name}"
        assert self.has_told_all(model, engine, task), f"{engine} was not told all of {task.name}"

    def has_ended(self, task: Task) -> bool:
        """Whether the keeper has written down how a task's agent ended."""
        return (self.on_disk(task).directory / "exit.json").exists()

    def result(self, task: Task) -> JSON:
        """The result of a task that has one, as engines give it."""
        end = self.end_of(task)
        assert end is not None, f"{task.name} has no result"
        result: JSON = json.loads(end)
        return result

    def on_disk(self, task: Task) -> TaskOnDisk:
        return self.world.app.state.task(self.id_of(task.name))

    def end_of(self, task: Task) -> bytes | None:
        path = self.on_disk(task).directory / "result.json"
        return path.read_bytes() if path.exists() else None


def _are_told_as(said: Sequence[Saying], events: Sequence[dict[str, JSON]]) -> bool:
    return len(said) == len(events) and all(
        saying.is_told_as(event) for saying, event in zip(said, events, strict=True)
    )


def _output(said: Sequence[Saying]) -> str | None:
    """The words of the last result; of a failure, and without any, what was said until then."""
    results = [number for number, saying in enumerate(said) if saying.kind != "text"]
    if not results:
        return "\n\n".join(saying.words for saying in said) or None
    if said[results[-1]].kind == "success":
        return said[results[-1]].words
    before = [number for number in results[:-1] if _texts(said, number)]
    turn = said[: results[-1]]
    return _texts(turn, len(turn)) or (_texts(said, before[-1]) if before else "") or None


def _texts(said: Sequence[Saying], end: int) -> str:
    """What was said in the turn that ends there."""
    begin = max((number + 1 for number in range(end) if said[number].kind != "text"), default=0)
    return "\n".join(saying.words for saying in said[begin:end])
