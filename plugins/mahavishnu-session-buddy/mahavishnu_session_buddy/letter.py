"""What is sent for a result or for lines of a log: a text within limits, tags that stay as they are. Pure.

The server (0.23.0) cuts a content of more than 10 000 bytes, and replaces runs of ten to thirteen digits,
numbers of sixteen, mail addresses and some uuids in it; tags stay as they are. So what a machine is to read
is in the tags, ids are single words, times are ISO 8601 and durations are rounded.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from mahavishnu_session_buddy.names import log_name, title_of, token_of
from mahavishnu_session_buddy.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core import Task, Worker, WorkerResult
    from mahavishnu_core.models import LogBatch

MOST_BYTES = 9_500
"""Of a content: under the 10 000 at which the server cuts."""
_PROMPT_BYTES = 1_500
_ERROR_BYTES = 2_000
_TAG_CHARACTERS = 300
_LINE_BYTES = 2_000
_HEAD_BYTES = 500
_WINDOW = 50_000


@attrs.frozen
class Letter:
    """``token`` is one word, found in ``content`` by the server's own search and by us."""

    token: str
    content: str
    """Begins with ``title_of(token)``, by which a look-up tells the letter from what quotes its word."""
    tags: tuple[str, ...]


def compose(worker: Worker, task: Task, result: WorkerResult, secrets: tuple[str, ...]) -> Letter:
    """The letter for a result; the same each time."""
    token = token_of(task.task_id)
    digest = hashlib.sha256((result.output or "").encode("utf-8", "replace")).hexdigest()
    reason = str(result.metadata.get("reason") or "")
    head = [
        f"{title_of(token)} {result.status.value}" + (f" ({reason})" if reason else ""),
        f"{worker.type.name}, exit status {result.exit_code}, {result.duration_seconds:.1f} s",
        f"ended {result.timestamp} in {worker.workspace}",
        f"whole output: 'mahavishnu results show {task.task_id}', {len(result.output or '')} characters",
        f"sha256 of the output: {digest}",
    ]
    content = "\n".join(without_secrets(_fit(line), secrets) for line in head)
    for name, text, most in (
        ("prompt", task.prompt, _PROMPT_BYTES),
        ("error", result.error, _ERROR_BYTES),
        ("output", result.output, MOST_BYTES),
    ):
        if text:
            label = f"\n{name}: "
            room = MOST_BYTES - len(content.encode()) - len(label)
            content += label + _preview(text, min(most, room), secrets)
    return Letter(token, content, _tags(worker, task, result, token, digest, secrets))


def compose_log(worker: Worker, batch: LogBatch, secrets: tuple[str, ...]) -> dict[str, Letter]:
    """Letters for some lines of a log by the names under which they are known; the same each time."""
    texts = [" ".join(_fit(text[:_WINDOW]).splitlines()) for text in batch.lines]
    # together: a key may go over several lines
    texts = without_secrets("\n".join(texts), secrets).split("\n")
    letters: dict[str, Letter] = {}
    first, lines, room = batch.first, list[str](), MOST_BYTES - _HEAD_BYTES
    for number, text in enumerate(texts, batch.first):
        line = f"{number}: {_cut(text, _LINE_BYTES, ' […] ')}"
        size = len(line.encode()) + 1
        if size > room:
            letters |= _log_letter(worker, batch.created, first, lines, secrets)
            first, lines, room = number, [], MOST_BYTES - _HEAD_BYTES
        lines.append(line)
        room -= size
    return letters | _log_letter(worker, batch.created, first, lines, secrets)


def _log_letter(
    worker: Worker, created: str, first: int, lines: list[str], secrets: tuple[str, ...]
) -> dict[str, Letter]:
    name = log_name(worker.worker_id, first)
    token, last = token_of(name), first + len(lines) - 1
    whose = f"worker {worker.worker_id}, {worker.type.name}, {created}"
    head = f"{title_of(token)} lines {first} to {last} of {whose}"
    facts = {"worker": worker.worker_id, "type": worker.type.name, "lines": f"{first}-{last}"}
    tags = _as_tags(facts, secrets)
    return {name: Letter(token, "\n".join([head, *lines]), ("mahavishnu", token, *tags))}


def _tags(
    worker: Worker, task: Task, result: WorkerResult, token: str, digest: str, secrets: tuple[str, ...]
) -> tuple[str, ...]:
    facts = {
        "worker": worker.worker_id,
        "task": task.task_id,
        "type": worker.type.name,
        "agent": worker.type.agent,
        "status": result.status.value,
        "reason": result.metadata.get("reason"),
        "exit": result.exit_code,
        "repository": worker.workspace,
        "sha256": digest,
    }
    return ("mahavishnu", token, *_as_tags(facts, secrets))


def _as_tags(facts: Mapping[str, object], secrets: tuple[str, ...]) -> list[str]:
    told = (f"{name}:{value}" for name, value in facts.items() if value not in (None, ""))
    return [without_secrets(_fit(tag), secrets)[:_TAG_CHARACTERS] for tag in told]


def _fit(text: str) -> str:
    """The text as JSON and the server can take it.

    A lone surrogate would end the client's connection (seen in mcp 2.3.0); a NUL is shown as its picture.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "\u2400")


def _preview(text: str, most: int, secrets: tuple[str, ...]) -> str:
    """A text in at most ``most`` bytes, its beginning and its end, without secrets."""
    if len(text) > 2 * _WINDOW:  # what is far from both ends is not shown: nobody has to look through it
        text = text[:_WINDOW] + text[-_WINDOW:]
    return _cut(without_secrets(_fit(text), secrets), most, "\n[… the middle is left out …]\n")


def _cut(text: str, most: int, gap: str) -> str:
    """A text in at most ``most`` bytes: where it has more, its beginning, the gap, and its end."""
    data = text.encode()
    if len(data) <= most:
        return text
    room = most - len(gap.encode())
    tail = room // 3
    return data[: room - tail].decode("utf-8", "ignore") + gap + data[-tail:].decode("utf-8", "ignore")
