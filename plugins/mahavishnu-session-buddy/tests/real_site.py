"""A user of Mahavishnu beside a real Session-Buddy: a home, a state directory, and the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from mahavishnu_core import WorkerManager
from mahavishnu_core.app import load_app
from mahavishnu_core.keeper.family import Process, snapshot
from mahavishnu_core.testing.processes import wait_until_gone

from .real_server import PATIENCE, RealBuddy, real_buddy, wait_until

if TYPE_CHECKING:
    from mahavishnu_core import WorkerResult

PROGRAM = str(Path(sys.executable).with_name("mahavishnu"))
NOT_SENT = 4
"""The exit status of ``results sync`` when something could not be sent."""


@contextmanager
def open_site(root: Path) -> Iterator[Site]:
    """A user with nothing done yet, and a server that does not run yet; none runs after the block."""
    with real_buddy(root / "buddy") as buddy:
        yield Site(root, buddy)


@attrs.frozen
class Said:
    """What ``results sync`` says of Session-Buddy."""

    storage: str
    sent: list[str]
    lost: list[str]
    waiting: int
    reason: str | None


@attrs.define(eq=False)
class Site:
    """The user's corner of the machine."""

    root: Path
    buddy: RealBuddy
    more: dict[str, str] = attrs.field(factory=dict)
    """Further variables of the user's."""

    def __attrs_post_init__(self) -> None:
        for path in (self.root / "home", self.work):
            path.mkdir()

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def outbox(self) -> Path:
        return self.state / "session-buddy/outbox"

    @property
    def sent(self) -> Path:
        return self.state / "session-buddy/sent"

    @property
    def environ(self) -> dict[str, str]:
        """All variables of the user's."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "MAHAVISHNU_STATE_DIR": str(self.state),
            "MAHAVISHNU_MAX_CONCURRENT_WORKERS": "20",
            "MAHAVISHNU_SESSION_BUDDY_URL": self.buddy.url,
            **self.more,
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the installed command."""
        pipe = subprocess.PIPE
        command = [PROGRAM, *words]
        return subprocess.Popen(
            command,
            cwd=self.work,
            env=self.environ,
            stdout=pipe,
            stderr=pipe,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *words: str, status: int = 0) -> str:
        """What the installed command prints; AssertionError where it ends otherwise than it should."""
        return self.finish(self.start(*words), status)

    def finish(self, process: subprocess.Popen[str], status: int = 0) -> str:
        try:
            out, err = process.communicate(timeout=2 * PATIENCE)
        finally:
            process.kill()
        assert process.returncode == status, (process.returncode, out, err)
        return out

    def execute(self, prompt: str, count: int = 3) -> list[str]:
        """The tasks of as many shell workers, done, in order."""
        return self.tasks_of(self.begin(prompt, count))

    def execute_one(self, prompt: str, status: int = 0) -> WorkerResult:
        """The result of one shell worker, as it is in the state directory."""
        (told,) = json.loads(self.run(*_execute(prompt, 1), status=status))
        state = load_app(environ=self.environ).state
        result = state.result(state.task(told["metadata"]["task_id"]))
        assert result is not None
        return result

    def begin(self, prompt: str, count: int = 3) -> subprocess.Popen[str]:
        """The same under way; ``tasks_of`` it waits for the end."""
        return self.start(*_execute(prompt, count))

    def tasks_of(self, process: subprocess.Popen[str]) -> list[str]:
        return sorted(result["metadata"]["task_id"] for result in json.loads(self.finish(process)))

    def sync(self, *words: str, status: int = 0) -> Said:
        """Have what waits sent now."""
        (told,) = json.loads(self.run("results", "sync", "--json", *words, status=status))["mirrors"]
        return Said(**told)

    def look(self) -> list[tuple[str, str]]:
        """Grade and detail of what ``doctor`` says of Session-Buddy."""
        # how it ends is another matter: it depends on the agents that this machine has
        told = subprocess.run(
            [PROGRAM, "doctor", "--json"],
            cwd=self.work,
            env=self.environ,
            capture_output=True,
            timeout=PATIENCE,
        )
        checks = json.loads(told.stdout)["checks"]
        return [(check["grade"], check["detail"]) for check in checks if check["subject"] == "session-buddy"]

    def carry_out(self, *prompts: str) -> list[WorkerResult]:
        """The results of as many shell workers at once, by a manager in this process."""

        async def body() -> list[WorkerResult]:
            async with WorkerManager(load_app(environ=self.environ)) as manager:
                workers = await manager.spawn_workers("shell", len(prompts), repo=self.work)
                return await manager.execute_batch(workers, prompts)

        return trio.run(body)

    def waiting(self) -> list[str]:
        """The tasks whose results are to be sent."""
        return sorted(path.name for path in self.outbox.iterdir()) if self.outbox.is_dir() else []

    def wait_until_sent(self) -> None:
        wait_until(lambda: not self.waiting(), "the outbox is empty")

    def is_sending(self) -> bool:
        """Whether a letter is on its way or has arrived."""
        return any(self.sent.iterdir()) or any(map(_size_of, self.outbox.iterdir()))

    def relays(self) -> list[Process]:
        """The processes that send for this user."""
        return [process for process in snapshot().values() if self._is_relay(process)]

    def wait_until_no_relay(self) -> None:
        left = wait_until_gone(self.relays, PATIENCE)
        assert left == []

    def _is_relay(self, process: Process) -> bool:
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"mahavishnu_session_buddy.relay" in words and os.fsencode(self.state) in words


def _execute(prompt: str, count: int) -> list[str]:
    return ["workers", "execute", "-t", "shell", "-n", str(count), "-p", prompt, "--json"]


def _size_of(path: Path) -> int:
    with suppress(FileNotFoundError):  # it was sent meanwhile
        return path.stat().st_size
    return 0
