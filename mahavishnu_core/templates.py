"""A worker type's command template turned into a command."""

from __future__ import annotations

import shlex

from mahavishnu_core.errors import UsageError
from mahavishnu_core.models import Command

PROMPT = "{prompt}"


def words(template: str) -> list[str]:
    """The words of a template, as a shell would split it. Raises UsageError for one that cannot be split."""
    try:
        found = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"command_template {template!r} cannot be split into words: {error}") from None
    if not found:
        raise UsageError("command_template is empty: name the program to run")
    return found


def command_from(template: str, prompt: str) -> Command:
    """The template's words, with the prompt where it says ``{prompt}``, else on standard input."""
    argv = tuple(word.replace(PROMPT, prompt) for word in words(template))
    return Command(argv=argv, stdin="" if PROMPT in template else prompt)
