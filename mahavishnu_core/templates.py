"""Command templates of worker types, for agents that turn them into commands."""

from __future__ import annotations

import shlex
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

from mahavishnu_core.errors import UsageError
from mahavishnu_core.models import Command

if TYPE_CHECKING:
    from mahavishnu_core.models import Task

PROMPT = "{prompt}"
"""Where a template wants the prompt as part of a word instead of on standard input."""


@cache
def words(template: str) -> tuple[str, ...]:
    """The words of a template, as a shell would split it. Raises UsageError for one that cannot be split."""
    try:
        found = tuple(shlex.split(template))
    except ValueError as error:
        raise UsageError(f"command_template {template!r} cannot be split into words: {error}") from None
    if not found:
        raise UsageError("command_template is empty: name the program to run")
    return found


def session_uuid(task: Task) -> str:
    """The task's session id, which may be what an agent said, as a word that cannot be an option.

    Raises UsageError for one that is no UUID.
    """
    try:
        if str(UUID(task.session_id)) == task.session_id.lower():
            return task.session_id
    except ValueError:
        pass
    raise UsageError(f"the session id of task {task.task_id!r} is no UUID: {task.session_id!r}")


def command_from(template: str, prompt: str) -> Command:
    """The template's words, with the prompt where it says ``{prompt}``, else on standard input."""
    argv = tuple(word.replace(PROMPT, prompt) for word in words(template))
    return Command(argv=argv, stdin="" if PROMPT in template else prompt)
