"""What a script sees (a conversation) and what it may answer (a reply or a failure), free of any protocol."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON


@attrs.frozen
class Turn:
    """One message: what was said, and the tool results that it carries."""

    role: str
    text: str = ""
    results: tuple[str, ...] = ()


@attrs.frozen
class Conversation:
    """One model call, as a script sees it."""

    model: str
    context: str
    """Everything that the program told the model, its own additions included."""
    turns: tuple[Turn, ...]
    tools: tuple[str, ...]
    streaming: bool
    hit: int = 0
    """1 for the first call under this key."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What people said, oldest first."""
        return tuple(turn.text for turn in self.turns if turn.role == "user" and turn.text.strip())

    @property
    def prompt(self) -> str:
        return self.prompts[-1] if self.prompts else ""

    @property
    def rounds(self) -> int:
        """Answers given since a person last said something."""
        count = 0
        for turn in reversed(self.turns):
            if turn.role == "assistant":
                count += 1
            elif turn.role == "user" and turn.text.strip():
                break
        return count

    @property
    def results(self) -> tuple[str, ...]:
        """What tools returned since the last answer."""
        found: tuple[str, ...] = ()
        for turn in reversed(self.turns):
            if turn.role == "assistant":
                break
            found = turn.results + found
        return found

    @property
    def result(self) -> str:
        return self.results[-1] if self.results else ""

    @property
    def directory(self) -> str:
        """The working directory, which every program tells the model in words of its own."""
        told = _DIRECTORY.search(self.context)
        return next(filter(None, told.groups())).strip() if told else "."


@attrs.frozen
class Text:
    text: str
    size: int = 12
    """Characters in one delta, about."""
    delay: float = 0.0
    """Seconds before each delta."""


@attrs.frozen
class Thinking:
    text: str


@attrs.frozen
class ToolCall:
    name: str
    input: Mapping[str, JSON]


Block: TypeAlias = Text | Thinking | ToolCall


@attrs.frozen
class Usage:
    input: int = 1000
    output: int = 50


@attrs.frozen
class Fault:
    """What goes wrong once the answer has begun: the connection is reset, or nothing more comes."""

    kind: Literal["reset", "silence"]
    after: int = 5
    """Deltas sent before it."""


@attrs.frozen
class Reply:
    """An answer of the model. ``stop`` is Anthropic's word for why it ended, or empty for the usual one."""

    blocks: tuple[Block, ...] = ()
    stop: str = ""
    usage: Usage = Usage()
    headers: Mapping[str, str] = attrs.field(factory=dict)
    fault: Fault | None = None

    @property
    def stop_reason(self) -> str:
        calls = any(isinstance(block, ToolCall) for block in self.blocks)
        return self.stop or ("tool_use" if calls else "end_turn")


def say(text: str) -> Reply:
    return Reply((Text(text),))


@attrs.frozen
class Failure:
    """An HTTP error instead of an answer."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Frame:
    """A piece of a streamed answer: its bytes, the seconds before it, whether it is a delta."""

    data: bytes
    delay: float = 0.0
    is_delta: bool = False


_DIRECTORY = re.compile(
    r"(?:working directory|in the directory): *(.+)"
    r"|<cwd>(.+)</cwd>"  # codex
    r"|Workspace Directories:\*\*\s*- (.+)",  # gemini
    re.IGNORECASE,
)
_HARNESS = (
    "<system-reminder>",
    "<command-",
    "<local-command",
    "This is the Qwen Code.",
    "<environment_context>",  # codex
    "<session_context>",  # gemini
)


def spoken(texts: Iterable[str]) -> str:
    """What of these texts a person said: programs put texts of their own beside a prompt."""
    return "\n".join(text for text in texts if not text.lstrip().startswith(_HARNESS))


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in deltas of about ``size`` characters, cut between words only."""
    piece = ""
    for word in re.findall(r"\S+\s*|\s+", text):
        if piece and len(piece) + len(word) > size:
            yield piece
            piece = ""
        piece += word
    if piece:
        yield piece
