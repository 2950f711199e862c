"""A Session-Buddy behind stdin and stdout; what it stored is in a file, so that a test can look at it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import attrs

from .faults import LOCKED, Fault, Says
from .memory import Memory, Row
from .rpc import place_of, record, reply

NOISE = "2026-01-01 00:00:00 [debug    ] candidate-registered           domain=service"
"""What the real server writes to stdout before anything else: it is no message."""


@attrs.frozen
class StdioBuddy:
    """How to start one, and what it remembers. Each start is a restart of the server before it."""

    state: Path
    hangs_at: str | None = None
    """A tool or a method that is never answered; then it only waits for the end of stdin."""
    last_words: str | None = None
    """What it says on stderr, to exit at once with 1."""
    has_tools: bool = True
    is_locked: bool = False
    """Whether another server has the database."""

    @property
    def command(self) -> list[str]:
        """Program and arguments, good in any directory and environment."""
        command = [sys.executable, str(Path(__file__).parent / "stdio_server.py"), str(self.state)]
        command += ["--hang", self.hangs_at] if self.hangs_at is not None else []
        command += ["--exit", self.last_words] if self.last_words is not None else []
        command += [] if self.has_tools else ["--no-tools"]
        return [*command, "--locked"] if self.is_locked else command

    @property
    def memory(self) -> Memory:
        """A copy of what it has, also while it runs and after it has ended."""
        return load(self.state)


def main(arguments: Sequence[str]) -> int:
    """Serve until the end of stdin; the status to exit with."""
    parser = ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--hang")
    parser.add_argument("--exit")
    parser.add_argument("--no-tools", action="store_true")
    parser.add_argument("--locked", action="store_true")
    given = parser.parse_args(arguments)
    print(NOISE, flush=True)
    if given.exit is not None:
        print(given.exit, file=sys.stderr)
        return 1
    memory = load(given.state)
    memory.restart()
    if given.no_tools:
        memory.offers.clear()
    faults: dict[str, Fault] = {"store_reflection": Says(LOCKED)} if given.locked else {}
    serve(memory, given.state, sys.stdin.buffer, sys.stdout.buffer, faults, given.hang)
    return 0


def serve(
    memory: Memory, state: Path, asked: IO[bytes], said: IO[bytes], faults: dict[str, Fault], hang: str | None
) -> None:
    """Answer one message a line."""
    for line in asked:
        message = json.loads(line)
        record(memory, message)
        place = place_of(message)
        answer = None if place == hang else reply(memory, message, faults.get(place))
        save(memory, state)
        if answer is not None:
            said.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            said.flush()
        if place == hang:
            asked.read()


def save(memory: Memory, path: Path) -> None:
    """Keep what there is, so that nobody reads a half of it."""
    kept = {
        "flushed": [attrs.asdict(row) for row in memory.flushed],
        "log": [attrs.asdict(row) for row in memory.log],
        "is_durable": memory.is_durable,
        "is_mended_by_flush": memory.is_mended_by_flush,
        "calls": memory.calls,
        "count": memory.count,
    }
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(kept))
    draft.replace(path)


def load(path: Path) -> Memory:
    """What was kept; an empty memory where nothing was."""
    if not path.exists():
        return Memory()
    kept = json.loads(path.read_text())
    rows = {name: [Row(**row) for row in kept.pop(name)] for name in ("flushed", "log")}
    return Memory(**rows, calls=[(name, given) for name, given in kept.pop("calls")], **kept)
