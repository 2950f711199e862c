"""Where the installed ``mahavishnu`` runs the real CLIs: a HOME, state directory and workspace of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

import attrs
import pytest
import trio

from mahavishnu_core.models import WorkerResult
from mahavishnu_core.testing.environs import MIRRORS_NOTHING
from tests.scripted_model import clients

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON
    from tests.keeping import Fifo
    from tests.scripted_model.server import ModelServer

PROGRAM = str(Path(sys.executable).with_name("mahavishnu"))
LIMIT = 240
"""Seconds for one command: far more than any needs, on a busy machine too."""

_TYPES = """\
workers:
  - name: claude-bash
    agent: claude
    description: Claude Code with its shell
    command_template: "claude --output-format stream-json --permission-mode acceptEdits --allowedTools Bash"
"""


@attrs.frozen
class Agent:
    """One of the real CLIs: the type that runs it as shipped, and one that may run any command."""

    name: str
    type: str
    shell_type: str


def require_in_path(agents: Iterable[Agent], install: str) -> None:
    """Skips a test without its programs, or fails it where MAHAVISHNU_REQUIRE_CLIS is set."""
    missing = [agent.name for agent in agents if shutil.which(agent.name) is None]
    if missing:
        text = f"not in PATH: {', '.join(missing)}; {install}"
        (pytest.fail if os.environ.get("MAHAVISHNU_REQUIRE_CLIS") else pytest.skip)(text)


CLAUDE = Agent("claude", "terminal-claude", "claude-bash")
QWEN = Agent("qwen", "terminal-qwen", "terminal-qwen")
CODEX, GEMINI, OPENCODE = (
    Agent(name, f"terminal-{name}", f"terminal-{name}") for name in ("codex", "gemini", "opencode")
)
ENVIRONMENTS: dict[Agent, Callable[[str, Path], dict[str, str]]] = {
    CLAUDE: clients.claude_env,
    CODEX: clients.codex_env,
    GEMINI: clients.gemini_env,
    OPENCODE: clients.opencode_env,
    QWEN: clients.qwen_env,
}
"""By agent, the variables with which it hears the script at a URL in this HOME."""


@attrs.frozen
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> JSON:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, JSON]]:
        """What ``--jsonl`` printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def results(self) -> list[WorkerResult]:
        """What ``--json`` printed, where that is results."""
        assert self.out, self.err
        return [WorkerResult.from_dict(each) for each in self.json]

    @property
    def result(self) -> WorkerResult:
        """The result, where there is one."""
        (result,) = self.results
        return result


@attrs.frozen
class Site:
    """One test's own corner of the machine, and the model that its agents hear."""

    root: Path
    model: ModelServer

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def agent_pid(self) -> int:
        """The process of the one task that was launched here."""
        (launched,) = self.state.glob("workers/*/tasks/*/launch.json")
        return json.loads(launched.read_text())["pid"]

    def prepare(self) -> None:
        for path in (self.home, self.work, self.config, self.root / "tmp"):
            path.mkdir()
        (self.config / "ecosystem.yaml").write_text(_TYPES)

    def environ(self, script: str, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The whole environment of a command. A None in ``changes`` takes a variable away."""
        url = self.model.url(self.key(script))
        given: dict[str, str | None] = {
            **clients.claude_env(url, self.home),
            **clients.qwen_env(url, self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.root / "tmp"),
            "CLAUDE_CODE_TMPDIR": str(self.root / "tmp"),
            "MAHAVISHNU_STATE_DIR": str(self.state),
            **MIRRORS_NOTHING,
            **{
                f"XDG_{name}_HOME": str(self.home / name.lower())
                for name in ("CONFIG", "STATE", "DATA", "CACHE")
            },
            **(changes or {}),
        }
        return {name: value for name, value in given.items() if value is not None}

    def key(self, script: str) -> str:
        """How the model knows this test's calls of a script."""
        return f"{script}+{self.root.name}"

    async def run(
        self, *args: str, script: str = "hello", env: Mapping[str, str | None] | None = None
    ) -> Done:
        """Run ``mahavishnu`` to its end."""
        async with self.start(*args, script=script, env=env) as running:
            return await running.done()

    async def execute(
        self,
        type_or_id: str,
        prompt: str,
        *args: str,
        script: str = "hello",
        env: Mapping[str, str | None] | None = None,
    ) -> WorkerResult:
        """Give one worker a task, a new one of that type or the one of that id; what came of it."""
        return (
            await self.run(*execution(type_or_id, prompt, "--json", *args), script=script, env=env)
        ).result

    async def execute_each(
        self, kind: str, scripts: Iterable[str], at_once: int = 5
    ) -> dict[str, WorkerResult]:
        """What comes of a task by each of these scripts, a few at a time."""
        found: dict[str, WorkerResult] = {}
        slots = trio.Semaphore(at_once)

        async def give(script: str) -> None:
            async with slots:
                found[script] = await self.execute(kind, "Go", script=script)

        async with trio.open_nursery() as nursery:
            for script in scripts:
                nursery.start_soon(give, script)
        return found

    def start(
        self, *args: str, script: str = "hello", env: Mapping[str, str | None] | None = None
    ) -> AbstractAsyncContextManager[Running]:
        """A ``mahavishnu`` that runs no longer than the block lasts."""
        return self.start_program([PROGRAM, "--config", str(self.config), *args], script, env)

    async def run_program(
        self, program: Sequence[str], script: str, env: Mapping[str, str | None] | None = None
    ) -> Done:
        """Run any program to its end."""
        async with self.start_program(program, script, env) as running:
            return await running.done()

    @asynccontextmanager
    async def start_program(
        self, program: Sequence[str], script: str, env: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[Running]:
        """Any program, which runs no longer than the block lasts."""
        with trio.fail_after(LIMIT), TemporaryFile() as errors:
            process = await trio.lowlevel.open_process(
                [*program],
                cwd=self.work,
                env=self.environ(script, env),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=errors,
            )
            async with process.stdout:
                try:
                    yield Running(process, errors)
                finally:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()


@attrs.define(eq=False)
class Running:
    """A program under way, ``mahavishnu`` as a rule."""

    process: trio.Process
    _errors: IO[bytes]
    _out: bytearray = attrs.field(factory=bytearray)

    async def line(self) -> dict[str, JSON]:
        """The next line that it prints with ``--jsonl``, as soon as that comes."""
        while b"\n" not in self._out:
            chunk = await self.process.stdout.receive_some()
            assert chunk, "it has ended"
            self._out += chunk
        line, _, self._out = self._out.partition(b"\n")
        return json.loads(line)

    async def rung(self, bell: Fifo) -> str:
        """What its agent's command tells the bell; fails if it ends without that."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail_at_end)
            line = await bell.line()
            nursery.cancel_scope.cancel()
        return line

    async def _fail_at_end(self) -> None:
        await self.process.wait()
        pytest.fail(f"it has ended: {await self.done()}")

    async def done(self) -> Done:
        """What it prints from here on, and how it ends."""
        async for chunk in self.process.stdout:
            self._out += chunk
        code = await self.process.wait()
        self._errors.seek(0)
        return Done(code, self._out.decode(), self._errors.read().decode())


def execution(type_or_id: str, prompt: str, *args: str) -> list[str]:
    """``workers execute`` for one worker."""
    whom = ["-n", "1", "-t", type_or_id] if "-" in type_or_id else ["--worker", type_or_id]
    return ["workers", "execute", *whom, "-p", prompt, *args]
