"""The command that carries out a task with Gemini CLI: what the user's template says, and what it lacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mahavishnu_core import Command
from mahavishnu_core.errors import UsageError
from mahavishnu_core.templates import PROMPT, session_uuid
from mahavishnu_core.templates import words as template_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mahavishnu_core import Task, WorkerType

PASS_ENV = ("CODE_ASSIST_ENDPOINT", "GEMINI_*", "GOOGLE_*")
"""What configures Gemini CLI (names in the documents of 0.61.0)."""

DROP_ENV = ("GEMINI_CLI", "GEMINI_CLI_IDE_*", "GEMINI_CLI_NO_RELAUNCH")
"""What marks a run inside a run or an editor: ``GEMINI_CLI`` was seen in the environment of a command run by
gemini 0.61.0, the names for editors were read there."""

_ENV = {"GEMINI_CLI_NO_RELAUNCH": "true"}
"""One process instead of two (0.61.0): signals reach it, and half the memory does."""

_LONGEST = 8 * 1024 * 1024
"""Bytes of standard input that gemini 0.61.0 reads; it drops the rest, with a warning (read there)."""

_SESSION = ("--session-id", "--resume", "-r", "--session-file")
_PROMPT = ("-p", "--prompt", "-i", "--prompt-interactive")
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])")


def command_for(type: WorkerType, task: Task) -> Command:
    """The command of a task. Raises ``UsageError`` for one that cannot be carried out."""
    words = template_words(type.command_template)
    options = [*map(_option, words)]
    if "--" in words or any(PROMPT in word for word in words) or any(word in _PROMPT for word in options):
        raise UsageError(
            "gemini reads its prompt from standard input, and options are put behind the command_template: "
            "leave {prompt}, -p, -i and '--' out of it"
        )
    if len(task.prompt.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise UsageError(f"gemini reads no more than {_LONGEST} bytes of a prompt: give it a file to read")
    return Command(
        argv=(*words, *_missing(words, options, type, task)),
        stdin=task.prompt,
        env=_ENV,
        pass_env=PASS_ENV,
        drop_env=DROP_ENV,
    )


def _missing(words: Sequence[str], options: Sequence[str], type: WorkerType, task: Task) -> Iterator[str]:
    """The options that a run without a terminal needs and the template lacks."""
    if type.progress_tracking != "lines":
        yield from _stream_json(words, options)
    if not any(option in _SESSION for option in options):
        yield from ("--resume" if task.resume else "--session-id", session_uuid(task))


def _stream_json(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """The option for a stream of events, if the template lacks it."""
    chosen = _format(words, options)
    if chosen is None:
        yield from ("-o", "stream-json")
    elif chosen != "stream-json":
        raise UsageError(
            f"the command_template asks for the output format {chosen!r}, which has no progress: "
            "write stream-json, or set progress_tracking to lines"
        )


def _option(word: str) -> str:
    """The option that a word names, as gemini's help spells it; it takes ``--outputFormat=json``, too."""
    name = word.split("=", 1)[0]
    return _HUMP.sub("-", name).lower() if name.startswith("--") else name


def _format(words: Sequence[str], options: Sequence[str]) -> str | None:
    for index, (word, option) in enumerate(zip(words, options, strict=True)):
        if option in ("-o", "--output-format"):
            following = words[index + 1] if index + 1 < len(words) else ""
            return word.split("=", 1)[1] if "=" in word else following
        if option.startswith("-o"):
            return option.removeprefix("-o")
    return None
