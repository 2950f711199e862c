"""The real things that a model is held against: engines, agents, what lies on disk and in the database."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, ClassVar

import attrs

from mahavishnu_core.app import App
from mahavishnu_core.models import JSON
from mahavishnu_core.testing.processes import keepers, left_by_test, lives
from tests.faults.site import Site

PATIENCE, IMPATIENCE = 15.0, 3.0
"""Seconds for what takes a fraction of one; less, once a step has failed and shorter ways there are tried."""
_HERE = Path(__file__).parent


@attrs.define(eq=False)
class Post:
    """What comes out of a pipe, as the JSON of its lines."""

    fd: int
    _rest: bytes = b""

    def read(self) -> list[dict[str, JSON]]:
        """What is there by now; nothing more comes of one that is at its end."""
        try:
            self._rest += os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]


@attrs.define(eq=False)
class Engine:
    """An engine's process, the calls that it was given and what it has said."""

    process: subprocess.Popen[bytes]
    calls: IO[bytes]
    post: Post
    count: int = 0
    answers: dict[int, dict[str, JSON]] = attrs.field(factory=dict)
    events: list[dict[str, JSON]] = attrs.field(factory=list)

    def ask(self, do: str, **given: JSON) -> int:
        """Begin a call; its number."""
        self.count += 1
        self.calls.write(json.dumps({"call": self.count, "do": do, **given}).encode() + b"\n")
        self.calls.flush()
        return self.count

    def hear(self) -> None:
        for message in self.post.read():
            if "event" in message:
                self.events.append(message["event"])
            else:
                self.answers[message["call"]] = message


@attrs.frozen
class Agent:
    """An agent that has come up."""

    task_id: str
    pid: int
    prompt: str


@attrs.define(eq=False)
class World:
    """A site whose only worker type is the obedient agent, and all that was started in it."""

    patience: ClassVar[float] = PATIENCE
    site: Site
    limit: int
    engines: dict[str, Engine] = attrs.field(factory=dict)
    agents: list[Agent] = attrs.field(factory=list)
    """In the order in which they came up."""
    crowd: int = 0
    """How many were up at once at most, since that was asked last."""
    _obeyed: dict[str, int] = attrs.field(factory=dict)
    _bell: Post = attrs.field(init=False)
    app: App = attrs.field(init=False)
    """As an engine has it, to look at what lies on disk."""

    def __attrs_post_init__(self) -> None:
        self.corner.mkdir()
        os.mkfifo(self.corner / "bell")
        self._bell = Post(os.open(self.corner / "bell", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        agent = f"{sys.executable} -I -S {_HERE / 'agent.py'} {self.corner}"
        self.site.types({"name": "obedient", "agent": "generic", "command_template": agent})
        self.app = self.site.app

    @property
    def corner(self) -> Path:
        """Where agents get their orders and tell what they did."""
        return self.site.root / "corner"

    # --- engines

    def start_engine(self, name: str) -> None:
        with (self.site.root / "errors").open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, str(_HERE / "engine.py"), str(self.limit)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.site.work,
                env=self.site.environ,
            )
        os.set_blocking(process.stdout.fileno(), False)
        self.engines[name] = Engine(process, process.stdin, Post(process.stdout.fileno()))
        self.answer(name, 0)

    def call(self, engine: str, do: str, **given: JSON) -> dict[str, JSON]:
        """Have an engine do something; its answer, or the error."""
        return self.answer(engine, self.engines[engine].ask(do, **given))

    def answer(self, engine: str, number: int) -> dict[str, JSON]:
        answers = self.engines[engine].answers
        self.until(lambda: number in answers, f"the answer of {engine} to its call {number}")
        return answers[number]

    def kill_engine(self, name: str) -> None:
        self.engines[name].process.kill()
        self._forget(name)

    def leave(self, name: str) -> None:
        """Have an engine end as one does whose user goes away."""
        engine = self.engines[name]
        engine.calls.close()
        self.until(lambda: engine.process.poll() is not None, f"the end of {name}")
        assert engine.process.returncode == 0, f"{name} left with {engine.process.returncode}: {self.errors}"
        self._forget(name)

    def _forget(self, name: str) -> None:
        engine = self.engines.pop(name)
        engine.process.wait()
        engine.calls.close()
        engine.process.stdout.close()

    @property
    def errors(self) -> str:
        """What engines had to complain about, and the keeper."""
        logs = (self.site.root / "errors", self.site.state / "keeper.log")
        return "\n".join(path.read_text() for path in logs if path.exists())

    # --- the keeper and the agents

    def kill_keeper(self) -> None:
        for process in keepers(self.site.state):
            os.kill(process.pid, signal.SIGKILL)
            self.until(lambda pid=process.pid: not lives(pid), "the keeper is gone")

    @property
    def up(self) -> dict[str, Agent]:
        """The agents that live, by their tasks."""
        return {agent.task_id: agent for agent in self.agents if lives(agent.pid)}

    def order(self, task_id: str, order: str) -> None:
        """Have an agent do something, and wait until it has."""
        done = self._obeyed.get(task_id, 0)
        self._write(task_id, order)
        self.until(lambda: self._obeyed.get(task_id, 0) > done, f"{task_id} does {order!r}")

    def order_exit(self, task_id: str, code: int) -> None:
        """Have an agent exit, if it has not been ended meanwhile; this does not wait for it."""
        with suppress(OSError):
            self._write(task_id, f"exit {code}")

    def _write(self, task_id: str, order: str) -> None:
        orders = os.open(self.corner / task_id, os.O_WRONLY | os.O_NONBLOCK)  # an error where nobody reads
        os.write(orders, f"{order}\n".encode())
        os.close(orders)

    def starts(self) -> list[str]:
        """The tasks whose agents were started; one that was twice is there twice."""
        path = self.corner / "starts"
        return path.read_text().split() if path.exists() else []

    def most_up(self) -> int:
        """How many agents were up at once since this was asked last."""
        crowd, self.crowd = max(self.crowd, len(self.up)), 0
        return crowd

    # --- what is kept

    def stored(self) -> list[dict[str, JSON]]:
        """The rows of the results database, which is sound."""
        path = self.site.state / "results.sqlite3"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as database:
            database.row_factory = sqlite3.Row
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'results'").fetchall():
                return []
            return [dict(row) for row in database.execute("SELECT * FROM results")]

    # --- waiting

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Take in what comes until something holds; ``what`` is that in words."""
        end = time.monotonic() + self.patience
        while not holds():
            if time.monotonic() > end:
                World.patience = IMPATIENCE
                raise AssertionError(f"it has not come to pass: {what}\n{self.errors}")
            posts = [self._bell.fd, *(engine.post.fd for engine in self.engines.values())]
            select.select(posts, [], [], 0.01)  # files and /proc give no event
            self._hear()

    def _hear(self) -> None:
        for engine in self.engines.values():
            engine.hear()
        for ring in self._bell.read():
            task_id = str(ring["task"])
            if "pid" in ring:
                self.agents.append(Agent(task_id, ring["pid"], ring["prompt"]))
                self.crowd = max(self.crowd, len(self.up))
            else:
                self._obeyed[task_id] = self._obeyed.get(task_id, 0) + 1

    def end(self) -> None:
        """End all processes by force."""
        for name in list(self.engines):
            self.kill_engine(name)
        self.kill_keeper()
        for process in left_by_test(self.site.root):
            os.kill(process.pid, signal.SIGKILL)
        os.close(self._bell.fd)
