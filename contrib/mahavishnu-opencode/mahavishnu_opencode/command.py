"""The command that carries out a task with OpenCode: what the user's template says, and what it lacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mahavishnu_core import Command
from mahavishnu_core.errors import UsageError
from mahavishnu_core.templates import PROMPT
from mahavishnu_core.templates import words as template_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mahavishnu_core import Task, WorkerType

PASS_ENV = ("OPENCODE_*",)
"""What configures OpenCode. It keeps the keys of ``opencode auth login`` in its data directory.

Variables of the vendors whose models it can use (``ANTHROPIC_API_KEY``, ``OPENAI_API_KEY`` …) are not among
them: a worker type that needs one names it in ``pass_env``.
"""

DROP_ENV = ("AGENT", "OPENCODE", "OPENCODE_PID")
"""What marks a run inside a run: seen in the environment of a command run by opencode 1.18.33."""

_CHOSEN = ("-s", "--session", "-c", "--continue", "--fork")
_FORMAT = "--format"
_SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
"""The shape of its session ids, ``ses_`` and 26 letters and digits, and of other harmless ones."""


def command_for(type: WorkerType, task: Task) -> Command:
    """The command of a task. Raises ``UsageError`` for a template that cannot carry it out."""
    words = template_words(type.command_template)
    if "--" in words or any(PROMPT in word for word in words):
        raise UsageError(
            "opencode reads its prompt from standard input, and options are put behind the command_template: "
            "leave {prompt} and '--' out of it"
        )
    return Command(
        argv=(*words, *_missing(words, type, task)),
        stdin=task.prompt,
        pass_env=PASS_ENV,
        drop_env=DROP_ENV,
    )


def _missing(words: Sequence[str], type: WorkerType, task: Task) -> Iterator[str]:
    """The words that a run without a terminal needs and the template lacks."""
    if "run" not in words[1:]:
        yield "run"
    names = {word.split("=", 1)[0] for word in words}
    if type.progress_tracking != "lines":
        yield from _json(words)
        if "--thinking" not in names:
            yield "--thinking"
    if task.resume and not names.intersection(_CHOSEN):
        yield from ("--session", _session(task))


def _json(words: Sequence[str]) -> Iterator[str]:
    """The option for a stream of events, if the template lacks it."""
    chosen = _format(words)
    if chosen is None:
        yield from (_FORMAT, "json")
    elif chosen != "json":
        raise UsageError(
            f"the command_template asks for the format {chosen!r}, which has no progress: "
            "write json, or set progress_tracking to lines"
        )


def _format(words: Sequence[str]) -> str | None:
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == _FORMAT:
            return value or (words[index + 1] if index + 1 < len(words) else "")
    return None


def _session(task: Task) -> str:
    """The session id that opencode named, as a word that cannot be an option."""
    if not _SAFE.fullmatch(task.session_id):
        raise UsageError(
            f"the session id of task {task.task_id!r} is none of opencode's: {task.session_id!r}"
        )
    return task.session_id
