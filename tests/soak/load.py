"""What a soak gives its engines: worker types of all agents, and command lines chosen at random."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Literal

import attrs

from mahavishnu_core import WorkerStatus
from mahavishnu_core.testing.agents import agent, all_agents
from mahavishnu_core.testing.contract.misbehaving import ALWAYS, WITH_AN_END

Workers = Sequence[tuple[str, str]]
"""Their ids and types."""
Style = Literal["json", "jsonl", "ids", "text"]
"""How a command prints what it has done."""

TOKEN = "token-{}-end"
"""In each prompt, with a number of its own; what repeats its prompt repeats it."""
REPEATING = ("good", "shell")
"""Worker types whose answer holds the token of their prompt."""
LEAKING = ("leak-env", "shell")
"""Worker types whose agents may print what they were given."""
EVIL = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\rover\b\u202etxet"

_STARTED = 'echo "$MAHAVISHNU_TASK" >> "$0"; exec "$@"'
_SIZES = {"big_line": 17, "fork_storm": 8, "many_lines": 3_000, "no_newline_flood": 17, "stderr_flood": 1}
_QUICK, _SLOW, _SHELL = 8, 1, 60
_IDLE_SECONDS, _SLOW_SECONDS, _QUICK_SECONDS = 3.0, 6.0, 20.0
_LONG = 40_000
_MOST_AT_ONCE = 4


@attrs.frozen
class Given:
    """A command line, and what is known of what it does."""

    words: tuple[str, ...]
    style: Style = "text"
    prompts: frozenset[str] = frozenset()
    """Those of the tasks that it gives."""


def worker_types(starts: Path) -> list[dict[str, object]]:
    """A type of each agent, as settings have it; each start of one is a line with its task in ``starts``."""
    types = [_type_of(name, starts) for name in all_agents()]
    return [*types, {"name": "shell", "timeout_seconds": _QUICK_SECONDS}]


def _type_of(name: str, starts: Path) -> dict[str, object]:
    command = ("/bin/sh", "-c", _STARTED, str(starts), *agent(name))
    return {
        "name": name.replace("_", "-"),
        "command_template": shlex.join(command),
        "agent": "claude",
        "progress_tracking": "stream-json",
        "timeout_seconds": _SLOW_SECONDS if _is_slow(name) else _QUICK_SECONDS,
        "idle_seconds": _IDLE_SECONDS,
        "env": {"MAHAVISHNU_AGENT_SIZE": str(_SIZES[name])} if name in _SIZES else {},
    }


def _is_slow(name: str) -> bool:
    """Whether it is we who have to end it."""
    return (ALWAYS | WITH_AN_END)[name].status is WorkerStatus.TIMEOUT or name == "result_then_hang"


@attrs.define(eq=False)
class Load:
    """Chooses what to do next. ``directory`` is where the files of batches go."""

    directory: Path
    starts: Path
    _random: Random
    _tokens: int = 0
    _batches: list[Given] = attrs.field(factory=list)
    _kinds: dict[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        weights = {name: _SLOW if _is_slow(name) else _QUICK for name in all_agents()}
        self._kinds = {name.replace("_", "-"): weight for name, weight in weights.items()} | {"shell": _SHELL}

    def choose(self, workers: Workers) -> Given:
        """A command line; ``workers`` are those that there are to go on with, look at, and close."""
        makers: dict[Callable[[Workers], Given], int] = {
            self._execute: 40,
            self._detach: 25,
            self._batch: 20,
            self._batch_again: 5,
            self._go_on: 10 if workers else 0,
            self._close: 5 if workers else 0,
            self._look: 5,
        }
        [maker] = self._random.choices(list(makers), list(makers.values()))
        return maker(workers)

    def _execute(self, _: Workers) -> Given:
        kind, style = self._kind(), self._random.choice(("json", "jsonl"))
        return self._telling(("workers", "execute", "-t", kind, *self._count()), kind, style)

    def _detach(self, _: Workers) -> Given:
        kind = self._kind()
        return self._telling(("workers", "execute", "--detach", "-t", kind, *self._count()), kind, "ids")

    def _go_on(self, workers: Workers) -> Given:
        worker_id, kind = self._random.choice(workers)
        return self._telling(("workers", "execute", "--worker", worker_id), kind, "json")

    def _telling(self, words: tuple[str, ...], kind: str, style: Style) -> Given:
        prompt = self._prompt(kind)
        flags = () if style == "ids" else (f"--{style}",)
        return Given((*words, *flags, f"--prompt={prompt}"), style, frozenset([prompt]))

    def _batch(self, _: Workers) -> Given:
        kinds = [self._kind() for _ in range(self._random.randint(3, 9))]
        items = [{"worker_type": kind, "prompt": self._prompt(kind)} for kind in kinds]
        path = self.directory / f"batch-{len(self._batches)}.json"
        path.write_text(json.dumps(items))
        prompts = frozenset(item["prompt"] for item in items)
        self._batches.append(Given(("workers", "batch", "--json", str(path)), "json", prompts))
        return self._batches[-1]

    def _batch_again(self, workers: Workers) -> Given:
        """It goes on where it was killed, or says what it did."""
        return self._random.choice(self._batches) if self._batches else self._batch(workers)

    def _close(self, workers: Workers) -> Given:
        return Given(("workers", "close", self._random.choice(workers)[0]))

    def _look(self, workers: Workers) -> Given:
        looks = [
            ("workers", "list"),
            ("results", "search", TOKEN),
            ("workers", "health"),
            ("results", "sync"),
        ]
        looks += [("workers", "monitor", worker_id) for worker_id, _ in workers[-1:]]
        return Given(self._random.choice(looks))

    def _kind(self) -> str:
        [kind] = self._random.choices(list(self._kinds), list(self._kinds.values()))
        return kind

    def _count(self) -> tuple[str, str]:
        return "-n", str(self._random.randint(1, _MOST_AT_ONCE))

    def _prompt(self, kind: str) -> str:
        self._tokens += 1
        token = TOKEN.format(self._tokens)
        if kind == "shell":
            return f'echo "$MAHAVISHNU_TASK" >> {self.starts}; {self._script(token)}'
        more = ("", EVIL, "x" * _LONG, "--help\n$(touch x) `touch x`", "grün 世界 👋 \u2028\u0085")
        return f"say {token} {self._random.choice(more)}"

    def _script(self, token: str) -> str:
        choices = (
            f"echo {token}",
            f"echo {token}; exit 3",
            f"sleep 1; echo {token}",
            f"env; echo {token}",
            f"echo {shlex.quote(EVIL)}; echo {token}",
            f"head -c {_LONG} /dev/zero | tr '\\0' x; echo; echo {token}",
            f"setsid sleep 30 & echo {token}",
            f"echo {token}; kill -9 $$",
            f"echo {token} >&2; echo {token}",
        )
        return self._random.choice(choices)
