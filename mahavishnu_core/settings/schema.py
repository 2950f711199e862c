"""What may be set: the classes that settings files are read into, with the rules for each value."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Annotated, Generic, TypeAlias, TypeVar

import attrs

from mahavishnu_core.models import Tracking, WorkerType

T = TypeVar("T")


@attrs.frozen
class Rule(Generic[T]):
    """What a value must be, beside being of its type; ``demand`` completes the sentence "the value …"."""

    demand: str
    holds: Callable[[T], bool]


@attrs.frozen
class Range:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"from {self.low} to {self.high}"

    def clamp(self, number: int) -> int:
        return min(max(number, self.low), self.high)


CONCURRENT_WORKERS = Range(1, 100)
WORKER_DEPTH = Range(1, 10)
TIMEOUT_SECONDS = Range(30, 3600)
RATE_LIMIT_WAIT_SECONDS = Range(0, 86_400)

NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
"""What worker types, agents, places, roles and storages may be called."""


def _splits(template: str) -> bool:
    try:
        return any(shlex.split(template)[:1])
    except ValueError:
        return False


def _splits_or_is_empty(line: str) -> bool:
    return not line or _splits(line)


def _is_address(text: str) -> bool:
    """Whether it is where a program listens by HTTP, without a name or password to log in with."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port_is_right = parts.port != 0
    except ValueError:
        return False
    is_plain = not re.search(r"[\s\x00-\x20\x7f]", text) and "@" not in parts.netloc
    return is_plain and port_is_right and parts.scheme in ("http", "https") and bool(parts.hostname)


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _is_json(value: object, depth: int = 16) -> bool:
    if depth == 0:
        return False
    match value:
        case dict():
            return all(isinstance(key, str) and _is_json(item, depth - 1) for key, item in value.items())
        case list():
            return all(_is_json(item, depth - 1) for item in value)
        case float():
            return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


Name: TypeAlias = Annotated[
    str,
    Rule(
        "must be a name of at most 64 lower-case letters, digits, '_', '.' and '-', beginning with a letter",
        _matches(NAME.pattern),
    ),
]
Template: TypeAlias = Annotated[
    str, Rule("must be a command line: a program and its arguments, with every quote closed", _splits)
]
Seconds: TypeAlias = Annotated[
    float, Rule("must be more than 0", lambda seconds: seconds > 0 and math.isfinite(seconds))
]
Variable: TypeAlias = Annotated[
    str, Rule("must be the name of a variable: letters, digits and '_'", _matches(r"[A-Za-z_][A-Za-z0-9_]*"))
]
Variables: TypeAlias = Annotated[
    str,
    Rule(
        "must be the name of a variable, or its beginning and '*': GIT_*",
        _matches(r"[A-Za-z_][A-Za-z0-9_]*\*?"),
    ),
]

Address: TypeAlias = Annotated[
    str,
    Rule(
        "must be an http:// or https:// address with a host, and no user name or password in it", _is_address
    ),
]
CommandLine: TypeAlias = Annotated[
    str, Rule("must be empty or a command line, with every quote closed", _splits_or_is_empty)
]

Option: TypeAlias = Annotated[
    object,
    Rule(
        "must be text, a finite number, true or false, a list, or keys with values, at most 16 deep", _is_json
    ),
]
"""What only the plugin of a place can check."""


@attrs.frozen
class Role:
    """A part that something plays among Mahavishnu's programs, in words."""

    name: Name
    description: str = ""
    tags: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


@attrs.frozen
class WorkerOverride:
    """An entry under ``workers:``: what it changes in the worker type of its name, or a type of its own.

    The fields are those of ``WorkerType``; None is one that the entry does not name.
    """

    name: Name
    agent: Name | None = None
    place: Name | None = None
    command_template: Template | None = None
    description: str | None = None
    aliases: tuple[Name, ...] | None = None
    progress_tracking: Tracking | None = None
    result_storage: Name | None = None
    timeout_seconds: Seconds | None = None
    idle_seconds: Seconds | None = None
    pass_env: tuple[Variables, ...] | None = None
    env: Mapping[Variable, str] | None = attrs.field(default=None, repr=False)
    install: str | None = None
    options: Mapping[str, Option] | None = None


Kind = TypeVar("Kind", WorkerOverride, WorkerType)


@attrs.frozen
class Settings:
    """Every setting. The defaults are those of the shipped ``mahavishnu.yaml``."""

    workers_enabled: bool = True
    max_concurrent_workers: int = 10
    """How many tasks run at once on one state directory; ``CONCURRENT_WORKERS`` are the possible values."""
    worker_default_type: Name = "terminal-qwen"
    worker_timeout_seconds: Annotated[
        int, Rule(f"must be {TIMEOUT_SECONDS}", TIMEOUT_SECONDS.__contains__)
    ] = 300
    rate_limit_wait_seconds: Annotated[
        int, Rule(f"must be {RATE_LIMIT_WAIT_SECONDS}", RATE_LIMIT_WAIT_SECONDS.__contains__)
    ] = 600
    """How long a task that has not begun waits for the end of a vendor's limit; else it is given up."""
    max_worker_depth: Annotated[int, Rule(f"must be {WORKER_DEPTH}", WORKER_DEPTH.__contains__)] = 1
    """How deep workers may be nested: with 1, a worker cannot start workers."""
    session_buddy_integration: bool = True
    """Whether results also go to a Session-Buddy server; the other fields say to which, and how."""
    session_buddy_url: Address = "http://127.0.0.1:8678/mcp"
    session_buddy_command: CommandLine = ""
    """The command line of a server to talk to by stdin and stdout, instead of the address."""
    session_buddy_tool: str = ""
    """The server's tool that stores, where it is not one that the plugin knows."""
    session_buddy_arguments: Mapping[str, Option] = attrs.field(factory=dict)
    """What that tool is called with; ``{content}``, ``{id}``, ``{title}`` and ``"{tags}"`` are filled in."""
    pass_env: tuple[Variables, ...] = ()
    """Variables of the caller, by name or ``NAME_*``, that every worker gets."""
    roles: tuple[Role, ...] = ()
    workers: tuple[WorkerOverride, ...] = ()


ECOSYSTEM_FIELDS = frozenset({"roles", "workers"})
"""What ``ecosystem.yaml`` holds."""

MAIN_FIELDS = frozenset(attrs.fields_dict(Settings)) - ECOSYSTEM_FIELDS
"""What ``mahavishnu.yaml`` holds, and what a variable or ``config set`` may set."""

TRUSTED_FIELDS = frozenset(
    {
        "max_worker_depth",
        "pass_env",
        "session_buddy_arguments",
        "session_buddy_command",
        "session_buddy_integration",
        "session_buddy_tool",
        "session_buddy_url",
        "worker_default_type",
        "workers",
    }
)
"""What decides which commands run, what they get to see and where results go: not a project's to set until it
is trusted.

The default type is among them: with ``shell`` a prompt for an agent would be obeyed as a command line. So is
the depth, which a worker could otherwise raise for itself.
"""

HARMLESS_EMPTY = frozenset({"pass_env", "session_buddy_integration", "workers"})
"""Those of them that take something away when they are set to nothing: that needs no trust."""


def laid_over(below: Kind, override: WorkerOverride) -> Kind:
    """A type, or an entry of a lower layer, with what an entry names changed in it.

    Of the options each is named by itself; those of another place than the one below begin anew.
    """
    fields = {name: getattr(override, name) for name in attrs.fields_dict(WorkerOverride)}
    changed = {name: value for name, value in fields.items() if value is not None}
    is_moved = below.place is not None and changed.get("place", below.place) != below.place
    if is_moved or "options" in changed:
        changed["options"] = {} if is_moved else dict(below.options or {})
        changed["options"] |= override.options or {}
    return attrs.evolve(below, **changed)
