"""``workers execute``: one prompt for several workers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mahavishnu_cli.border import worst
from mahavishnu_cli.completing import worker_ids as complete_worker_ids
from mahavishnu_cli.foreground import Foreground
from mahavishnu_cli.notices import noticing
from mahavishnu_cli.options import example, json_option, jsonl_option, repo_option, type_option
from mahavishnu_cli.progress import on_terminal, open_progress
from mahavishnu_cli.show import Style, finish, style_of
from mahavishnu_cli.streams import complain, emit, emit_json, say
from mahavishnu_core.errors import MahavishnuError, UsageError
from mahavishnu_core.verdict import refusal

if TYPE_CHECKING:
    from mahavishnu_cli.signals import Interrupts
    from mahavishnu_cli.start import Start
    from mahavishnu_core import WorkerManager, WorkerResult
    from mahavishnu_core.models import JSON

_DEFAULT_COUNT = 3


@click.command(
    "execute",
    epilog=example(
        'mahavishnu workers execute --type terminal-claude --count 3 --prompt "Implement a REST API"',
        "mahavishnu workers execute -t shell -n 1 -p 'make test' --json | jq -r '.[0].output'",
        "git diff | mahavishnu workers execute --worker k3f9a2b1 --prompt-file -",
    ),
)
@click.option("-p", "--prompt", metavar="TEXT", help="What the workers are to do.")
@click.option("--prompt-file", metavar="FILE", help="Read the prompt from a file; '-' is standard input.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 20),
    metavar="N",
    help=f"How many workers to spawn, 1 to 20. Default: {_DEFAULT_COUNT}.",
)
@type_option
@click.option(
    "-T",
    "--timeout",
    type=click.IntRange(30, 3600),
    metavar="SECONDS",
    help="How long each may take, 30 to 3600. Default: that of the worker type, else of the settings.",
)
@click.option(
    "--worker",
    "worker_ids",
    shell_complete=complete_worker_ids,
    multiple=True,
    metavar="ID",
    help="Go on with this worker instead of spawning new ones; may be repeated.",
)
@repo_option
@click.option("--detach", is_flag=True, help="Leave the tasks running, print their ids and return.")
@json_option("the results")
@jsonl_option
@click.pass_obj
def execute(
    start: Start,
    prompt: str | None,
    prompt_file: str | None,
    count: int | None,
    type_name: str | None,
    timeout: int | None,
    worker_ids: tuple[str, ...],
    repo: Path | None,
    detach: bool,
    as_json: bool,
    as_jsonl: bool,
) -> int:
    """Give workers a prompt and wait for the results.

    New workers are spawned, and stay open afterwards: go on with one by --worker. Ctrl-C cancels the tasks, a
    second one kills them at once.
    """
    style = style_of(as_json=as_json, as_jsonl=as_jsonl)
    if detach and as_jsonl:
        raise click.UsageError("--jsonl shows events, which --detach does not wait for")
    if worker_ids and (count or type_name or repo):
        raise click.UsageError("--worker names the workers: leave --count, --type and --repo out")
    text = read_prompt(prompt, prompt_file)
    start.require_workers()
    kind = "" if worker_ids else start.task_type(type_name)
    for worker_id in worker_ids:
        start.state.worker_for_tasks(worker_id)

    async def body(manager: WorkerManager, interrupts: Interrupts) -> int:
        ids = list(dict.fromkeys(worker_ids))
        if ids:
            await manager.recover()  # a task that ended unseen does not keep its worker busy
        else:
            with noticing(manager):
                ids = await manager.spawn_workers(kind, count or _DEFAULT_COUNT, repo=repo)
        if detach:
            return await _detach(manager, ids, text, timeout, style)
        return await _see_through(manager, interrupts, ids, text, timeout, style)

    return start.manage(body, is_run=True)


def read_prompt(prompt: str | None, file: str | None) -> str:
    """The prompt, byte for byte as it was given. Raises UsageError."""
    if prompt is None and file is None:
        raise click.UsageError("say what to do: either with --prompt or with --prompt-file")
    if prompt is not None and file is not None:
        raise click.UsageError("--prompt and --prompt-file exclude each other")
    if file is not None:
        prompt = _read(file).decode("utf-8", "surrogateescape")
    if not prompt or not prompt.strip():
        raise UsageError("the prompt is empty: say what the workers are to do")
    return prompt


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"the prompt file {file!r} cannot be read: {error.strerror}") from None


async def _detach(
    manager: WorkerManager, ids: list[str], prompt: str, seconds: float | None, style: Style
) -> int:
    submitted: list[JSON] = []
    begun: list[str] = []
    statuses = [0]
    for worker_id in ids:
        try:
            task_id = await manager.submit_task(worker_id, prompt, timeout_seconds=seconds)
        except UsageError as error:  # it is busy, say: the others get theirs
            complain(str(error))
            statuses.append(error.exit_status)
            continue
        begun.append(worker_id)
        submitted.append({"worker_id": worker_id, "task_id": task_id})
        if style != "json":
            emit(task_id)
    if style == "json":
        emit_json(submitted)
    elif begun:
        say(f"watch them with 'mahavishnu workers monitor {' '.join(begun)}'")
    return worst(statuses)


async def _see_through(
    manager: WorkerManager,
    interrupts: Interrupts,
    ids: list[str],
    prompt: str,
    seconds: float | None,
    style: Style,
) -> int:
    found: dict[str, WorkerResult] = {}
    refusals: list[MahavishnuError] = []
    foreground = Foreground(manager, open_progress(manager, len(ids), style, manager.app.secrets), interrupts)

    async def job(worker_id: str) -> None:
        try:
            result = await foreground.execute(worker_id, prompt, seconds)
        except MahavishnuError as error:  # it is busy, say: the others go on
            complain(str(error))
            refusals.append(error)
            found[worker_id] = refusal(worker_id, error)
        else:
            if result is not None:
                found[worker_id] = result

    await foreground.do([partial(job, worker_id) for worker_id in ids], width=len(ids))
    results = [found[worker_id] for worker_id in ids if worker_id in found]
    finish(results, style)
    if style == "text" and on_terminal():
        say("the workers stay open: go on with --worker ID, or end them with 'mahavishnu workers close'")
    return worst([*(error.exit_status for error in refusals), *(not each.is_success() for each in results)])
