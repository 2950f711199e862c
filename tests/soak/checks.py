"""What has to hold when a soak is over: each check yields what does not, a line each."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from mahavishnu_core import Task, Worker, WorkerResult
from mahavishnu_core.keeper.files import names
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone
from tests.faults.site import CLEAN_WITHIN, Site, by_task

from .journal import Journal, digest
from .load import LEAKING, REPEATING

_TOKEN = re.compile(r"token-\d+-end")
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What a terminal obeys, or what makes a line look like another one."""
_DRAFT = re.compile(r"\.json\.\w+$|\.part$")
_RAW = ("stdout.jsonl", "stderr.log")


@attrs.frozen
class Ended:
    """A task that was given, with what came of it."""

    worker: Worker
    task: Task
    result: WorkerResult | None
    raw_result: bytes


@attrs.frozen
class Scene:
    """What a soak leaves behind."""

    site: Site
    journal: Journal
    starts: Path
    secrets: Sequence[str]
    printed: Path
    """Where the output of engines is."""


def faults(scene: Scene) -> Iterator[str]:
    """All that does not hold; what has not gone by itself is looked at last."""
    state, ended = scene.site.state, all_ended(scene.site)
    yield from acknowledged_are_there(scene.journal, ended)
    yield from each_has_one_end(ended)
    yield from answers_are_their_own(ended)
    yield from none_ran_twice(scene.starts, ended)
    yield from each_is_stored_once(state / "results.sqlite3", ended)
    yield from nothing_is_half(state)
    yield from nothing_is_obeyed(scene.printed.iterdir())
    yield from the_keeper_is_silent(state)
    yield from no_secret_is_kept(scene.site.root.parent, scene.secrets, ended)


def all_ended(site: Site) -> dict[str, Ended]:
    """Every task in the state directory, by its id."""
    state = site.app.state
    found = {}
    for worker in state.workers(with_closed=True):
        for task in state.tasks(worker.worker_id):
            path = task.directory / "result.json"
            raw = path.read_bytes() if path.exists() else b""
            found[task.task_id] = Ended(worker, task, state.result(task), raw)
    return found


def acknowledged_are_there(journal: Journal, ended: Mapping[str, Ended]) -> Iterator[str]:
    """What was seen once is there, as it was."""
    for task_id in sorted({*journal.printed, *journal.prompts, *journal.results} - {*ended}):
        yield f"task {task_id}: it was acknowledged and is not there"
    for task_id, each in ended.items():
        seen = journal.prompts.get(task_id)
        if seen is not None and seen != digest(each.task.prompt.encode("utf-8", "surrogatepass")):
            yield f"task {task_id}: it has another prompt than it had"
        if task_id in journal.results and journal.results[task_id] != digest(each.raw_result):
            yield f"task {task_id}: it has another result than it had"
    results = by_task(each.result for each in ended.values() if each.result is not None)
    for shown in by_task(journal.shown).items():
        if results.get(shown[0]) != shown[1]:
            yield f"task {shown[0]}: an engine has printed another result: {shown[1]}"


def each_has_one_end(ended: Mapping[str, Ended]) -> Iterator[str]:
    for task_id, each in ended.items():
        if each.result is None:
            there = names(str(each.task.directory))
            yield f"task {task_id} ({each.worker.type.name}): it has no result, and {there}"
        elif not each.result.status.is_final:
            yield f"task {task_id}: it is {each.result.status.value} for ever"


def answers_are_their_own(ended: Mapping[str, Ended]) -> Iterator[str]:
    """What repeats its prompt has repeated it, and nobody else's."""
    for task_id, each in ended.items():
        if each.worker.type.name in REPEATING and each.result is not None and each.result.is_success():
            asked, said = (set(_TOKEN.findall(text or "")) for text in (each.task.prompt, each.result.output))
            if asked != said:
                yield f"task {task_id} ({each.worker.type.name}): asked for {asked}, it has answered {said}"


def none_ran_twice(starts: Path, ended: Mapping[str, Ended]) -> Iterator[str]:
    begun = Counter(starts.read_text().split() if starts.exists() else ())
    for task_id, times in begun.items():
        if times > 1:
            yield f"task {task_id}: it was started {times} times"
        if task_id not in ended:
            yield f"task {task_id}: it was started and is not there"
    for task_id, each in ended.items():
        if each.result is not None and each.result.is_success() and task_id not in begun:
            yield f"task {task_id}: it is completed and was never started"


def each_is_stored_once(database: Path, ended: Mapping[str, Ended]) -> Iterator[str]:
    """The database is sound, and holds each result, equal to ``result.json``, once."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        for (found,) in connection.execute("PRAGMA integrity_check"):
            if found != "ok":
                yield f"the database: {found}"
        try:
            connection.execute("INSERT INTO results_text (results_text, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            yield f"the database: its words are not those of its results: {error}"
        connection.rollback()
        rows = connection.execute("SELECT * FROM results").fetchall()
    times = Counter(row["task_id"] for row in rows)
    for task_id in sorted(times.keys() | ended.keys()):
        if times[task_id] != 1 or task_id not in ended:
            there = "is" if task_id in ended else "is not"
            yield f"task {task_id}: it is stored {times[task_id]} times and {there} in the state directory"
    yield from _unequal(rows, ended)


def _unequal(rows: Iterable[sqlite3.Row], ended: Mapping[str, Ended]) -> Iterator[str]:
    for row in rows:
        each = ended.get(row["task_id"])
        if each is None or each.result is None:
            continue
        result = each.result.to_dict()
        stored = {name: row[name] for name in result if name != "metadata"}
        stored["metadata"] = json.loads(row["metadata"])
        for name, value in result.items():
            if stored[name] != value:
                yield f"task {row['task_id']}: stored is {name} = {stored[name]!r}, in result.json {value!r}"
        if row["prompt"] != each.task.prompt:
            yield f"task {row['task_id']}: stored is another prompt"


def no_secret_is_kept(root: Path, secrets: Iterable[str], ended: Mapping[str, Ended]) -> Iterator[str]:
    """Nowhere but in the output of an agent that has put one out itself, as it came."""
    leaks = {str(e.task.directory) for e in ended.values() if e.worker.type.name in LEAKING}
    for path in _files_in(root):
        content = path.read_bytes()
        found = [secret for secret in secrets if secret.encode() in content]
        if found and not (path.name in _RAW and str(path.parent) in leaks):
            yield f"{path}: it holds {found}"


def nothing_is_half(state: Path) -> Iterator[str]:
    """Each file that says something says all of it; drafts, which nobody reads, have other names."""
    for path in (*state.glob("workers/*/worker.json"), *state.glob("workers/*/tasks/[!.]*/*.json")):
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            yield f"{path}: {error}: {path.read_bytes()[:200]!r}"


def nothing_is_obeyed(printed: Iterable[Path]) -> Iterator[str]:
    """No engine has printed what a terminal obeys."""
    for path in printed:
        if found := _OBEYED.search(path.read_text(encoding="utf-8")):
            yield f"{path}: {path.read_text(encoding='utf-8')[: found.end()][-200:]!r}"


def the_keeper_is_silent(state: Path) -> Iterator[str]:
    log = state / "keeper.log"
    if log.exists() and log.stat().st_size:
        yield f"the keeper's log: {log.read_text(errors='replace')[-2000:]!r}"


def nothing_is_left(site: Site, kills: int) -> Iterator[str]:
    """No process, and no task with something to do; of each that was killed, one thing half made at most."""
    for process in wait_until_gone(lambda: left_by_test(site.root), CLEAN_WITHIN):
        yield f"left running: {process}"
    for task in site.app.state.open_tasks():
        yield f"task {task.task_id}: something is left to do for it"
    if (found := remnants(site.state)).total() > kills:
        yield f"half made things: {found}"


def remnants(state: Path) -> Counter[str]:
    """What killed ones were making, by kinds: drafts that nobody reads, and numbers of tasks not to be."""
    found = Counter(
        "draft of a file" if _DRAFT.search(path.name) else "draft of a task"
        for path in state.rglob("*")
        if path.name.startswith(".") or _DRAFT.search(path.name)
    )
    tasks = {path.name for path in state.glob("workers/*/tasks/*")}
    found["claim of a task"] = len({*names(f"{state}/open")} - tasks)
    return found


def _files_in(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
