"""Real processes in the place of the agent's program, each with one fault of its own, all at once.

Each plays the shortest completed sample of the agent, so that every agent meets every fault in its own words.
Beside them are an observer that raises, one that never comes back, and a storage that fails.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core.app import App
from mahavishnu_core.keeper.family import marked, snapshot
from mahavishnu_core.manager import WorkerManager
from mahavishnu_core.markers import hookimpl
from mahavishnu_core.models import WorkerStatus
from mahavishnu_core.state import StateDir
from mahavishnu_core.testing.agents import agent, all_agents, fault_of
from mahavishnu_core.testing.contract.row import DoesNotApply, Row, require, run
from mahavishnu_core.testing.contract.subject import LentAgent
from mahavishnu_core.testing.environs import home_in
from mahavishnu_core.testing.fakes import FakeStorage
from mahavishnu_core.testing.hosts import host_with_core
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mahavishnu_core.models import Command, Task, Worker, WorkerResult, WorkerType
    from mahavishnu_core.testing.contract.subject import Parts, Subject

_AT_ONCE = 12
_IDLE, _WALL, _LONG = 2.0, 3.0, 60.0
_PROMPT = "say hello " * 10_000
_CANARY = "canary-6b1f9c"
_NOT_ITS_OWN = ("SOMEBODYS_API_KEY", "SOMEBODYS_TOKEN")
"""Variables of the caller that hold the canary: patterns like ``*`` and ``*_KEY`` let them in."""


@attrs.frozen
class Due:
    """What is to come of a fault."""

    status: WorkerStatus
    reasons: frozenset[str | None] = frozenset({None})
    """Any of these; empty for whatever reason the parser finds."""
    warning: str | None = None


_FINE = Due(WorkerStatus.COMPLETED)
_FAILED = Due(WorkerStatus.FAILED, frozenset())
_STRAYS = Due(WorkerStatus.COMPLETED, warning="strays_ended")
_NO_RESULT = Due(WorkerStatus.FAILED, frozenset({"no_result"}))
_SILENT = Due(WorkerStatus.TIMEOUT, frozenset({"idle"}))
_TOO_LONG = Due(WorkerStatus.TIMEOUT, frozenset({"wall"}))

ALWAYS = {
    "bad_utf8": _FINE,
    "bom_and_crlf": _FINE,
    "burst_before_stdin": _FINE,
    "closes_stdin": _FINE,
    "closes_stdout": _SILENT,
    "deep_json": _FINE,
    "double_fork": _STRAYS,
    "drip_forever": _SILENT,
    "drips": _FINE,
    "exits_in_a_flash": _FINE,
    "floods_after_term": _TOO_LONG,
    "fork_storm": _TOO_LONG,
    "goes_silent": _SILENT,
    "good": _FINE,
    "hidden_daemon": _STRAYS,
    "huge_numbers": _FINE,
    "ignores_hup_and_int": _TOO_LONG,
    "late_lines": _FINE,
    "leak_env": _FINE,
    "many_lines": _FINE,
    "never_reads_stdin": _FINE,
    "no_last_newline": _FINE,
    "no_main_thread": _TOO_LONG,
    "noise": _FINE,
    "nul_bytes": _FINE,
    "pipe_heir": _STRAYS,
    "segv": Due(WorkerStatus.FAILED, frozenset({"signal"})),
    "segv_after_result": Due(WorkerStatus.FAILED, frozenset({"signal"})),
    "silent_forever": _SILENT,
    "split_utf8_drip": _FINE,
    "stderr_flood": _FINE,
    "stderr_only_death": _FAILED,
    "stops_itself": _SILENT,
    "success_exit_1": _FAILED,
    "talks_forever": _TOO_LONG,
    "term_immune_family": _TOO_LONG,
    "tty_grabber": _FINE,
    "waits_stdin_eof": _FINE,
    "wrong_types": _FINE,
    "ansi_osc": _FINE,
}
"""What is due of any agent."""
WITH_AN_END = {
    "big_line": Due(WorkerStatus.COMPLETED, warning="oversize_lines"),
    "dup_result": Due(WorkerStatus.COMPLETED, warning="multiple_results"),
    "error_exit_0": _NO_RESULT,
    "forged_result": _NO_RESULT,
    "half_line": Due(WorkerStatus.FAILED, frozenset({"truncated_result"})),
    "no_newline_flood": _NO_RESULT,
    "no_result": _NO_RESULT,
    "result_then_hang": Due(WorkerStatus.COMPLETED, warning="killed_after_result"),
}
"""What is due of an agent that says itself when it has ended; of the others the exit is all there is."""


def rows(subject: Subject) -> Iterator[Row]:
    for kind in subject.task_types:
        aftermaths = cache(partial(_all_aftermaths, subject, kind))
        for name in all_agents():
            due = (ALWAYS | WITH_AN_END)[name]
            yield Row(
                f"{kind.name}: agent {name}",
                f"its program: {fault_of(name)}. Due is: {_in_words(due)}",
                partial(_look, subject, kind, name, due, aftermaths),
            )


def _in_words(due: Due) -> str:
    why = f" ({' or '.join(sorted(map(str, due.reasons)))})" if due.reasons - {None} else ""
    return due.status.value + why + (f", with the warning {due.warning}" if due.warning else "")


@attrs.frozen
class Aftermath:
    """What came of one fault."""

    result: WorkerResult
    stdout: bytes = attrs.field(repr=False)
    left: tuple[str, ...]
    """Processes of it that were still there afterwards."""


def _look(
    subject: Subject, kind: WorkerType, name: str, due: Due, aftermaths: Callable[[], dict[str, Aftermath]]
) -> str:
    sample = subject.good_sample(kind)
    if sample is None:
        raise DoesNotApply("no sample of a completed run")
    if name in WITH_AN_END and not subject.parts(kind, sample).ends_itself:
        raise DoesNotApply("its exit alone says that it has ended")
    aftermath = aftermaths()[name]
    result = aftermath.result
    said = f"{result.status.value} ({result.metadata['reason']}), {one_line(result.error or '', 120)}"
    require(result.status is due.status, f"{said} where {_in_words(due)} is due")
    require(
        not due.reasons or result.metadata["reason"] in due.reasons, f"{said} where {_in_words(due)} is due"
    )
    warnings = result.metadata["warnings"]
    assert isinstance(warnings, list)  # noqa: S101  # the verdict made it
    require(due.warning is None or due.warning in warnings, f"warnings {warnings}, without {due.warning}")
    require(not aftermath.left, f"left running: {', '.join(aftermath.left)}")
    is_told = _CANARY.encode() in aftermath.stdout
    require(not is_told, "its program was given a variable that is none of its: narrow Command.pass_env")
    return result.status.value + "".join(f", {warning}" for warning in warnings)


def _all_aftermaths(subject: Subject, kind: WorkerType) -> dict[str, Aftermath]:
    """Every fault of which something is due, at the same time."""
    sample = subject.good_sample(kind)
    assert sample is not None  # noqa: S101  # looked for before
    parts = subject.parts(kind, sample)
    names = sorted(ALWAYS | (WITH_AN_END if parts.ends_itself else {}))
    with tempfile.TemporaryDirectory() as directory, _canary_in_environment():
        return run(partial(_run_all, subject, kind, parts, names, Path(directory)))


@contextmanager
def _canary_in_environment() -> Iterator[None]:
    """In this process's own: the place ``local`` gives commands what they may see of that."""
    before = {name: os.environ[name] for name in _NOT_ITS_OWN if name in os.environ}
    os.environ.update(dict.fromkeys(_NOT_ITS_OWN, _CANARY))
    try:
        yield
    finally:
        for name in _NOT_ITS_OWN:
            del os.environ[name]
        os.environ.update(before)


async def _run_all(
    subject: Subject, kind: WorkerType, parts: Parts, names: list[str], directory: Path
) -> dict[str, Aftermath]:
    (directory / "sample.opening").write_bytes(parts.opening)
    (directory / "sample.ending").write_bytes(parts.ending)
    types = {name: attrs.evolve(_kind_for(name, kind), name=name.replace("_", "-")) for name in names}
    stage = _Stage(tuple(types.values()), LentAgent(subject), directory / "sample")
    blocking = _Blocking()
    plugins = {
        "stage": stage,
        "storage": FakeStorage(broken=True),
        "raising": _Raising(),
        "blocking": blocking,
    }
    aftermaths: dict[str, Aftermath] = {}
    app = App(host_with_core(plugins), StateDir(directory / "state"), environ=home_in(directory))

    async def misbehave(manager: WorkerManager, name: str) -> None:
        (worker_id,) = await manager.spawn_workers(types[name].name, repo=directory)
        limit = _WALL if (ALWAYS | WITH_AN_END)[name] is _TOO_LONG else _LONG
        result = await manager.execute_task(worker_id, _PROMPT, timeout_seconds=limit)
        aftermaths[name] = _aftermath(app.state, result)

    try:
        async with WorkerManager(app, max_concurrent=_AT_ONCE) as manager, trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(misbehave, manager, name)
    finally:
        blocking.let_go.set()
    return aftermaths


def _kind_for(name: str, kind: WorkerType) -> WorkerType:
    """The type for a fault: in this place, with an idle limit where silence is the fault."""
    idle = _IDLE if (ALWAYS | WITH_AN_END)[name] is _SILENT else None
    return attrs.evolve(kind, place="local", aliases=(), idle_seconds=idle, timeout_seconds=None)


def _aftermath(state: StateDir, result: WorkerResult) -> Aftermath:
    task = state.task(str(result.metadata["task_id"]))
    left = marked(snapshot(), task.task_id).values()
    stdout = task.directory / "stdout.jsonl"
    return Aftermath(result, stdout.read_bytes() if stdout.exists() else b"", tuple(map(str, left)))


@attrs.frozen
class _Stage:
    """Offers a type for each fault, and puts the misbehaving program in the place of the agent's own."""

    _types: tuple[WorkerType, ...]
    _agent: LentAgent
    _sample: Path

    @hookimpl
    def worker_types(self) -> tuple[WorkerType, ...]:
        # the program is not looked for: another one is run in its place
        return tuple(attrs.evolve(kind, command_template="") for kind in self._types)

    @hookimpl
    def execute(self, worker: Worker, task: Task) -> Command | None:
        template = next(kind.command_template for kind in self._types if kind.name == worker.type.name)
        own = attrs.evolve(worker, type=attrs.evolve(worker.type, command_template=template))
        command = self._agent.execute(own, task)
        if command is None:
            return None
        program = agent(worker.type.name.replace("-", "_"))
        env = {**command.env, "MAHAVISHNU_SAMPLE": str(self._sample)}
        return attrs.evolve(command, argv=(*program, *command.argv[1:]), env=env)

    @hookimpl
    def parse_progress(self, worker: Worker, task: Task) -> object:
        return self._agent.parse_progress(worker, task)


class _Raising:
    """An observer that raises."""

    @hookimpl
    def monitor(self, event: object) -> None:
        raise RuntimeError("an observer that always raises")


@attrs.define(eq=False)
class _Blocking:
    """An observer that does not come back before it is let go."""

    let_go: threading.Event = attrs.field(factory=threading.Event)

    @hookimpl
    def monitor(self, event: object) -> None:
        self.let_go.wait(_LONG)
