"""The command that carries out a task with Codex: what the user's template says, and what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mahavishnu_core import Command
from mahavishnu_core.errors import UsageError
from mahavishnu_core.templates import PROMPT, session_uuid
from mahavishnu_core.templates import words as template_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mahavishnu_core import Task, WorkerType

PASS_ENV = ("CODEX_*", "OPENAI_*")
"""What configures Codex. A model provider in its ``config.toml`` may name another variable for its key
(``env_key``): a worker type that uses one names it in ``pass_env``."""

DROP_ENV = (
    "CODEX_APPLY_PATCH_PRESERVE_LINE_ENDINGS",
    "CODEX_CI",
    "CODEX_MANAGED_*",
    "CODEX_SANDBOX*",
    "CODEX_SESSION_ID",
    "CODEX_THREAD_ID",
    "CODEX_TOOL_CALL_ID",
    "CODEX_VERSION",
)
"""What marks a run inside a run: seen in the environment of a command run by codex 0.171.0."""

_FROM_STDIN = "-"
_LONGEST = 1024 * 1024
"""Characters of a prompt that codex 0.171.0 takes; with more it leaves with status 1."""


def command_for(type: WorkerType, task: Task) -> Command:
    """The command of a task. Raises ``UsageError`` for one that cannot be carried out."""
    words = template_words(type.command_template)
    if any(PROMPT in word for word in words):
        raise UsageError(
            "codex reads its prompt from standard input: leave {prompt} out of the command_template"
        )
    if _FROM_STDIN in words or "--" in words:
        raise UsageError(
            "options and the conversation are put behind the command_template: leave '-' and '--' out of it"
        )
    if len(task.prompt) > _LONGEST:
        raise UsageError(
            f"codex takes no more than {_LONGEST} characters of a prompt: give it a file to read"
        )
    return Command(
        argv=(*words, *_missing(words, type, task)),
        stdin=task.prompt,
        pass_env=PASS_ENV,
        drop_env=DROP_ENV,
    )


def _missing(words: Sequence[str], type: WorkerType, task: Task) -> Iterator[str]:
    """The words that a run without a terminal needs and the template lacks.

    The order matters: ``codex exec resume`` knows some options only (0.171.0), and what stands before
    ``resume`` is read by ``codex exec``. ``-`` says that the prompt comes on standard input.
    """
    if not {"exec", "e"} & set(words[1:]):
        yield "exec"
    if type.progress_tracking != "lines" and "--json" not in words:
        yield "--json"
    if task.resume and "resume" not in words:
        yield from ("resume", session_uuid(task))
    yield _FROM_STDIN
