"""``results``: search, show, sync."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import attrs
import click
import trio

from mahavishnu_cli.border import worst
from mahavishnu_cli.commands.logs import find_task
from mahavishnu_cli.completing import task_ids
from mahavishnu_cli.notices import noticing
from mahavishnu_cli.options import example, json_option
from mahavishnu_cli.progress import on_terminal
from mahavishnu_cli.show import outcome, print_results, style_of
from mahavishnu_cli.streams import complain, emit, emit_json, say
from mahavishnu_cli.words import cost, counted, tokens, waiting
from mahavishnu_core.errors import MissingError, UsageError
from mahavishnu_core.text import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import Task, Worker, WorkerManager, WorkerResult
    from mahavishnu_core.models import JSON, Synced

_AT_ONCE = 20
_EXIT_NOT_KEPT = 4


@click.command(
    "search",
    epilog=example(
        "mahavishnu results search 'REST API'",
        "mahavishnu results search timeout --limit 5 --json | jq '.[].metadata.task_id'",
    ),
)
@click.argument("text")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, metavar="N", help="At most so many. Default: 20."
)
@json_option("an array of results")
@click.pass_obj
def search(start: Start, text: str, limit: int, as_json: bool) -> int:
    """Search the stored results for words.

    Prompts, outputs and errors are searched, and the lines of logs, in every storage that can. Results come
    first.
    """
    if not text.strip():
        raise UsageError("say what to search for: 'mahavishnu workers results --all' prints all there is")
    if not start.app.host.implementers("search_results"):
        raise MissingError(
            "no storage that can search is installed: 'pip install ./plugins/mahavishnu-sqlite'"
        )

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        await manager.recover()
        answers, failures = await manager.search_results(text, limit + 1)
        once: dict[object, WorkerResult] = {}
        for result in answers:
            once.setdefault(_known_by(result), result)
        is_cut, found = len(once) > limit, [*once.values()][:limit]
        print_results(found if as_json else [_shown(each, text) for each in found], style_of(as_json=as_json))
        for storage, reason in failures.items():
            complain(f"storage {storage!r} could not be searched: {reason}")
        if is_cut:
            say(f"there are more than these {limit}: --limit shows more")
        elif not found and not failures:
            say("nothing found")
        return _EXIT_NOT_KEPT if failures else 0

    return start.manage(body)


def _shown(result: WorkerResult, text: str) -> WorkerResult:
    """Of lines of a log those that have a word of what was searched for, with their numbers."""
    log = result.metadata.get("log")
    if not isinstance(log, dict):
        return result
    words = text.casefold().split()
    lines = list(enumerate((result.output or "").split("\n"), cast("int", log["first"])))
    fitting = [(number, line) for number, line in lines if any(word in line.casefold() for word in words)]
    return attrs.evolve(result, output="\n".join(f"{number}: {line}" for number, line in fitting or lines))


def _known_by(result: WorkerResult) -> object:
    """The id of its task; of lines of a log, whose they are and where they begin."""
    match result.metadata.get("log"):
        case {"first": int(first)}:
            return result.worker_id, first
    return result.metadata.get("task_id")


@click.command(
    "show", epilog=example("mahavishnu results show k3f9a2b1.1", "mahavishnu results show k3f9a2b1 --json")
)
@click.argument("name", shell_complete=task_ids, metavar="TASK")
@json_option("it")
@click.pass_obj
def show(start: Start, name: str, as_json: bool) -> int:
    """Show one result whole, with the evidence for it.

    TASK is the id of a task, or of a worker for its latest. Exit status 1 if the task did not complete.
    """
    state = start.state
    task = find_task(state, name)
    status = 0 if state.result(task) else start.settle()
    result = state.result(task)
    prompt = redact(task.prompt, start.secrets)
    if as_json:
        emit_json(_to_dict(task, prompt, state.status(task).value, result))
    elif result is None:
        hint = f"see 'mahavishnu workers logs -f {task.task_id}'"
        say(f"task {task.task_id} is {state.status(task).value}: {hint}")
    else:
        emit("\n".join(_lines(task, prompt, result)))
    return worst([status, 0 if result is not None and result.is_success() else 1])


def _to_dict(task: Task, prompt: str, status: str, result: WorkerResult | None) -> dict[str, JSON]:
    return {
        "task_id": task.task_id,
        "worker_id": task.worker_id,
        "status": status,
        "prompt": prompt,
        "timeout_seconds": task.timeout_seconds,
        "created": task.created,
        "directory": str(task.directory),
        "result": None if result is None else result.to_dict(),
    }


def _lines(task: Task, prompt: str, result: WorkerResult) -> Iterable[str]:
    told = result.metadata
    usage = cast("dict[str, int] | None", told.get("usage"))
    facts = {
        "task": f"{task.task_id} ({told.get('worker_type')})",
        "status": outcome(result),
        "given": task.created + (f", {task.timeout_seconds:g} s at most" if task.timeout_seconds else ""),
        "ended": result.timestamp,
        "session": told.get("session_id"),
        "model": told.get("model"),
        "tokens": f"{tokens(sum(usage.values()))} {_pairs(usage)}" if usage else None,
        "cost": _cost(told),
        "turns": told.get("turns"),
        "tool calls": told.get("tool_calls"),
        "warnings": ", ".join(map(str, cast("list[str]", told.get("warnings") or []))),
        "directory": task.directory,
    }
    yield from (_fact(f"{name + ':':12}{value}") for name, value in facts.items() if value not in (None, ""))
    evidence = cast("dict[str, JSON]", told.get("evidence") or {})
    yield from (
        _fact(f"  evidence: {name} = {value if isinstance(value, str) else json.dumps(value)}")
        for name, value in evidence.items()
        if value not in (None, "", [])
    )
    yield f"\n--- prompt\n{prompt.rstrip()}"
    if result.error:
        yield f"\n--- error\n{result.error.rstrip()}"
    yield f"\n--- output\n{(result.output or '').rstrip()}"


def _cost(told: dict[str, JSON]) -> str:
    dollars = cast("float | None", told.get("cost_usd"))
    return cost(dollars) if dollars is None else f"{cost(dollars)} ({told.get('cost_origin')})"


def _fact(text: str) -> str:
    """With all its lines but the first set in: none of them may pass for another fact."""
    return text.replace("\n", f"\n{'':12}")


def _pairs(usage: dict[str, int]) -> str:
    return "(" + ", ".join(f"{name.removesuffix('_tokens')} {count}" for name, count in usage.items()) + ")"


@click.command("sync", epilog=example("mahavishnu results sync", "mahavishnu results sync --verify"))
@click.option(
    "--verify", is_flag=True, help="Also find what was lost where it had been sent, and send it again."
)
@json_option("what was stored and sent, and what could not be,")
@click.pass_obj
def sync(start: Start, verify: bool, as_json: bool) -> int:
    """Store what some storage does not have yet, and send what waits in one.

    Because it was down, or was installed later. Exit status 4 if something could not be kept or sent: it lies
    safe in the state directory, and can be tried again.
    """

    async def body(manager: WorkerManager, _: Interrupts) -> int:
        stored = await _sync(manager)
        missing = sorted({failure.task_id for failure in manager.storage_failures})
        if not as_json:
            emit(f"stored {counted(len(stored), 'result')}, {len(missing)} could not be kept")
        mirrors = await _send(manager, verify=verify)
        if as_json:
            found: list[JSON] = [_mirror_to_dict(mirror) for mirror in mirrors]
            emit_json({"stored": [*stored], "not_stored": [*missing], "mirrors": found})
        for mirror in mirrors:
            _tell_mirror(mirror, counts=not as_json)
        return _EXIT_NOT_KEPT if any(mirror.backlog.is_failing for mirror in mirrors) else 0

    return start.manage(body, tells_backlogs=False)


async def _send(manager: WorkerManager, *, verify: bool) -> list[Synced]:
    """Have storages send what waits in them, with a bar where there is a terminal to show it on."""
    if not manager.app.host.implementers("sync_results"):
        return []
    if not on_terminal():
        with noticing(manager):
            return await manager.sync_results(verify=verify)
    from mahavishnu_cli.view import SendingBar

    bar = SendingBar()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bar.run)
        with manager.listening(bar.notice):
            mirrors = await manager.sync_results(verify=verify, told=bar.told)
        nursery.cancel_scope.cancel()
    return mirrors


def _mirror_to_dict(mirror: Synced) -> dict[str, JSON]:
    return {
        "storage": mirror.backlog.storage,
        "sent": [*mirror.sent],
        "lost": [*mirror.lost],
        "waiting": mirror.backlog.count,
        "reason": mirror.backlog.reason or None,
    }


def _tell_mirror(mirror: Synced, *, counts: bool) -> None:
    """One line for what it has sent, one for what waits; only that where it could do nothing."""
    backlog = mirror.backlog
    if counts and (mirror.sent or backlog.count or not backlog.is_failing):
        lost = f", {len(mirror.lost)} of them had been lost" if mirror.lost else ""
        emit(f"{backlog.storage}: {len(mirror.sent)} sent, {backlog.count} waiting{lost}")
    if backlog.count or backlog.is_failing:
        complain(waiting(backlog, "not sent"))


async def _sync(manager: WorkerManager) -> list[str]:
    """Have everything stored everywhere; the tasks that some storage has now and had not before."""
    state, slots = manager.app.state, trio.CapacityLimiter(_AT_ONCE)
    before = _marks(manager)
    under_way = {task.task_id for task in state.open_tasks()}

    async def store(worker: Worker, task: Task, result: WorkerResult) -> None:
        async with slots:
            await manager.engine.store(worker, task, result)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.recover)
        for worker in state.workers(with_closed=True):
            for task in state.tasks(worker.worker_id):
                result = state.result(task)
                if result is not None and task.task_id not in under_way:
                    nursery.start_soon(store, worker, task, result)
    return sorted({task_id for task_id, _ in _marks(manager) - before})


def _marks(manager: WorkerManager) -> set[tuple[str, str]]:
    """Which task is in which storage."""
    state, storages = manager.app.state, manager.app.host.implementers("store_result")
    return {
        (task.task_id, storage)
        for worker in state.workers(with_closed=True)
        for task in state.tasks(worker.worker_id)
        for storage in storages
        if state.is_stored(task, storage)
    }
