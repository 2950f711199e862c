"""The command that carries out a task with Claude Code: what the user's template says, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mahavishnu_core import Command, Task, WorkerType
from mahavishnu_core.errors import UsageError
from mahavishnu_core.templates import PROMPT, session_uuid
from mahavishnu_core.templates import words as template_words

PASS_ENV = (
    "ANTHROPIC_*",
    "API_TIMEOUT_MS",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_PROFILE",
    "AWS_REGION",
    "BASH_DEFAULT_TIMEOUT_MS",
    "BASH_MAX_OUTPUT_LENGTH",
    "BASH_MAX_TIMEOUT_MS",
    "CLAUDE_CODE_*",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_ENABLE_*",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS",
    "CLOUD_ML_REGION",
    "DISABLE_AUTOUPDATER",
    "DISABLE_AUTO_COMPACT",
    "DISABLE_COST_WARNINGS",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_INTERLEAVED_THINKING",
    "DISABLE_NON_ESSENTIAL_MODEL_CALLS",
    "DISABLE_PROMPT_CACHING*",
    "DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "ENABLE_PROMPT_CACHING_*",
    "ENABLE_TOOL_SEARCH",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "IS_SANDBOX",
    "MAX_MCP_OUTPUT_TOKENS",
    "MAX_STRUCTURED_OUTPUT_RETRIES",
    "MAX_THINKING_TOKENS",
    "MCP_TIMEOUT",
    "MCP_TOOL_TIMEOUT",
    "SLASH_COMMAND_TOOL_CHAR_BUDGET",
    "USE_BUILTIN_RIPGREP",
    "VERTEX_REGION_*",
)
"""What configures Claude Code (names read in 2.1.197 and its documentation).

The keys of an AWS or Google account are not among them, though Bedrock and Vertex can use them: Claude Code
gives its environment to every command that it runs. A worker type that needs them names them in ``pass_env``.
"""

DROP_ENV = (
    "CLAUDECODE",
    "CLAUDE_CODE_AGENT",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_COORDINATOR_MODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_ENVIRONMENT_*",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_REMOTE*",
    "CLAUDE_CODE_RESUME_*",
    "CLAUDE_CODE_SESSION_*",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_TASK_LIST_ID",
    "CLAUDE_CODE_TMUX_*",
    "CLAUDE_CODE_WORKER_EPOCH",
    "CLAUDE_CODE_*_FILE_DESCRIPTOR",
)
"""What marks a run inside a run, so that a worker started by Claude Code is not taken for a part of it.

The first few were seen in the environment of a command run by claude 2.1.197; the others are what it gives
to the processes it starts for its own sessions, and file descriptors, which a worker does not inherit.
"""

_SESSION = ("--session-id", "--resume", "-r", "--continue", "-c", "--from-pr")


def command_for(type: WorkerType, task: Task) -> Command:
    """The command of a task. Raises ``UsageError`` for a template that cannot carry it out."""
    words = list(template_words(type.command_template))
    end = words.index("--") if "--" in words else len(words)
    words[end:end] = _missing(words[:end], type, task)
    placed = any(PROMPT in word for word in words)
    return Command(
        argv=tuple(_with_prompt(words, task.prompt)),
        stdin="" if placed else task.prompt,
        pass_env=PASS_ENV,
        drop_env=DROP_ENV,
    )


def _missing(words: Sequence[str], type: WorkerType, task: Task) -> Iterator[str]:
    """The options that a run without a terminal needs and the template lacks."""
    if not _has(words, "-p", "--print"):
        yield "-p"
    if not type.is_plain:
        yield from _stream_json(words)
    if not _has(words, *_SESSION):
        yield from ("--resume" if task.resume else "--session-id", session_uuid(task))


def _stream_json(words: Sequence[str]) -> Iterator[str]:
    """The options for a stream of events that a template lacks."""
    chosen = _value(words, "--output-format")
    if chosen is None:
        yield from ("--output-format", "stream-json")
    elif chosen != "stream-json":
        raise UsageError(
            f"the command_template asks for the output format {chosen!r}, which has no progress: "
            "write stream-json, or set progress_tracking to lines"
        )
    if not _has(words, "--verbose"):
        yield "--verbose"
    if not _has(words, "--include-partial-messages"):
        yield "--include-partial-messages"


def _has(words: Sequence[str], *names: str) -> bool:
    return any(word.split("=", 1)[0] in names for word in words)


def _value(words: Sequence[str], option: str) -> str | None:
    """The value of an option, as ``--name value`` or ``--name=value``; the last one, as claude takes it."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else following
    return found


def _with_prompt(words: Sequence[str], prompt: str) -> Iterator[str]:
    options = True
    for word in words:
        options = options and word != "--"
        # claude 2.1.197 takes "-what" for -w and makes a git worktree
        if options and word.startswith(PROMPT) and prompt.startswith("-"):
            raise UsageError(
                "the prompt begins with '-', and where the command_template puts it claude would read "
                "an option: leave {prompt} out, or write -- before it"
            )
        yield word.replace(PROMPT, prompt)
