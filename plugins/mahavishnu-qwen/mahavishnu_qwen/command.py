"""The command that carries out a task with Qwen Code: what the user's template says, and what it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mahavishnu_core import Command, Task, WorkerType
from mahavishnu_core.errors import UsageError
from mahavishnu_core.templates import PROMPT, session_uuid
from mahavishnu_core.templates import words as template_words

PASS_ENV = (
    "BAILIAN_CODING_PLAN_API_KEY",
    "BAILIAN_TOKEN_PLAN_API_KEY",
    "DASHSCOPE_API_KEY",
    "OPENAI_*",
    "QWEN_*",
)
"""What configures Qwen Code (names read in 0.15.10).

The keys of the other vendors whose models it can use (``ANTHROPIC_API_KEY``, ``GEMINI_API_KEY``,
``OPENROUTER_API_KEY`` …) are not among them: a worker type that needs one names it in ``pass_env``.
"""

DROP_ENV = ("QWEN_CODE", "QWEN_CODE_ENTRYPOINT", "QWEN_CODE_IDE_*", "QWEN_CODE_SIMPLE")
"""What marks a run inside a run or an editor: ``QWEN_CODE`` was seen in the environment of a command run by
qwen 0.15.10, the others were read there."""

_ENV = {"QWEN_CODE_NO_RELAUNCH": "1"}
"""One process instead of two (0.15.10): signals reach it, and half the memory does."""

_SESSION = ("--session-id", "--resume", "-r", "--continue", "-c")
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])")


def command_for(type: WorkerType, task: Task) -> Command:
    """The command of a task. Raises ``UsageError`` for a template that cannot carry it out."""
    words = list(template_words(type.command_template))
    end = words.index("--") if "--" in words else len(words)
    words[end:end] = _missing(words[:end], type, task)
    placed = any(PROMPT in word for word in words)
    return Command(
        argv=tuple(_with_prompt(words, task.prompt)),
        stdin="" if placed else task.prompt,
        env=_ENV,
        pass_env=PASS_ENV,
        drop_env=DROP_ENV,
    )


def _missing(words: Sequence[str], type: WorkerType, task: Task) -> Iterator[str]:
    """The options that a run without a terminal needs and the template lacks."""
    options = list(map(_option, words))
    if not type.is_plain:
        yield from _stream_json(words, options)
    if not any(option in _SESSION for option in options):
        yield from ("--resume" if task.resume else "--session-id", session_uuid(task))


def _stream_json(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """The options for a stream of events that a template lacks."""
    chosen = _format(words, options)
    if chosen is None:
        yield from ("-o", "stream-json")
    elif chosen != "stream-json":
        raise UsageError(
            f"the command_template asks for the output format {chosen!r}, which has no progress: "
            "write stream-json, or set progress_tracking to lines"
        )
    if "--include-partial-messages" not in options:
        yield "--include-partial-messages"


def _option(word: str) -> str:
    """The option that a word names, as qwen's help spells it; it takes ``--outputFormat=json``, too."""
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


def _with_prompt(words: Sequence[str], prompt: str) -> Iterator[str]:
    for index, word in enumerate(words):
        # qwen 0.15.10 answers "-what" with its help and exit status 0, and loses what follows "--"
        if PROMPT in word and "--" in words[:index]:
            raise UsageError(
                "qwen loses a prompt that follows --: leave {prompt} out of the command_template, "
                "or write --prompt={prompt}"
            )
        if word.startswith(PROMPT) and prompt.startswith("-"):
            raise UsageError(
                "the prompt begins with '-', and where the command_template puts it qwen would read "
                "an option: leave {prompt} out, or write --prompt={prompt}"
            )
        yield word.replace(PROMPT, prompt)
