"""A user's corner of the machine, in which agents misbehave: the installed program, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from mahavishnu_core import Task, WorkerResult, WorkerStatus
from mahavishnu_core.app import App, load_app
from mahavishnu_core.testing.agents import agent
from mahavishnu_core.testing.environs import MIRRORS_NOTHING
from mahavishnu_core.testing.processes import left_by_test, wait_until_gone

PROGRAM = str(Path(sys.executable).with_name("mahavishnu"))
PATIENCE = 120
"""Seconds for what takes a few: a test that needs them has failed."""
GONE_WITHIN = 2.0
"""Seconds after the end of the last command in which nothing of it may be left, its keeper included.

Three tests at a time on two processors need 0.3 of them.
"""
CLEAN_WITHIN = 8.0
"""The same where something has to be cancelled first, which has a grace of 5 s."""
_MEASURING = """
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
json.dump(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, open(sys.argv[1], "w"))
sys.exit(128 - status if status < 0 else status)
"""
"""Runs a command, and writes down how many KB it had at most."""
_OWN_AGENTS = Path(__file__).with_name("agents")
_BESIDE_SPEECH = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs an agent of this folder as if it lay with the others, whose ``speech`` it uses."""

_DRAFT = re.compile(r"\.json\.\w+$|\.part$")


@attrs.frozen
class Ran:
    """What came of a command line."""

    status: int
    out: str
    err: str
    seconds: float
    peak_mb: float = 0.0
    """Of the program itself, where that was measured."""

    @property
    def results(self) -> list[WorkerResult]:
        """Of a command with ``--json``."""
        return [WorkerResult.from_dict(result) for result in json.loads(self.out)]

    @property
    def result(self) -> WorkerResult:
        [result] = self.results
        return result


@attrs.define(eq=False)
class Site:
    """A home, a state directory, a directory to work in, and worker types for agents that misbehave."""

    root: Path
    more: dict[str, str] = attrs.field(factory=dict)
    """Further variables of the user's."""

    def __attrs_post_init__(self) -> None:
        for path in (self.home, self.work, self.temporary):
            path.mkdir(parents=True)

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
    def temporary(self) -> Path:
        """For temporary files of the program and of its agents."""
        return self.root / "tmp"

    @property
    def environ(self) -> dict[str, str]:
        """All variables of the user's."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "MAHAVISHNU_STATE_DIR": str(self.state),
            **MIRRORS_NOTHING,
            **self.more,
        }

    @property
    def app(self) -> App:
        return load_app(environ=self.environ)

    def offer(self, *names: str, **fields: object) -> None:
        """From now on there are worker types of these agents of ours, with what the settings say of them.

        They are named after the agents (``pipe-heir``), and read as Claude Code is.
        """
        self.settings({name: _command(name) for name in names}, **fields)

    def settings(self, commands: Mapping[str, Sequence[str]], **fields: object) -> None:
        """The same of any programs, by the names of the types."""
        read_as_claude = {"agent": "claude", "progress_tracking": "stream-json", **fields}
        names = {name.replace("_", "-"): shlex.join(command) for name, command in commands.items()}
        self.types(*({"name": name, "command_template": names[name], **read_as_claude} for name in names))

    def types(self, *types: Mapping[str, object]) -> None:
        """The same of any worker types, as the settings have them."""
        path = self.home / ".config/mahavishnu/ecosystem.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"workers": types}))

    def start(self, *words: str, prefix: Sequence[str] = (), **options: object) -> subprocess.Popen[str]:
        """Start the installed program, its output in pipes unless told otherwise."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        given = {"cwd": self.work, "env": self.environ, "text": True, **pipes, **options}
        return subprocess.Popen([*prefix, PROGRAM, *words], **given)

    def run(
        self,
        *words: str,
        given: str | None = None,
        prefix: Sequence[str] = (),
        measured: bool = False,
        **options: object,
    ) -> Ran:
        """Run it to its end, with this on its standard input; ``prefix`` is what runs it in its turn."""
        peak = self.root / "peak"
        if measured:
            prefix = (*prefix, sys.executable, "-c", _MEASURING, str(peak))
        if given is not None:
            options["stdin"] = subprocess.PIPE
        began = time.monotonic()
        process = self.start(*words, prefix=prefix, **options)
        try:
            out, err = process.communicate(given, timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - began
        kilobytes = json.loads(peak.read_text()) if measured else 0
        return Ran(process.returncode, out, err, seconds, kilobytes / 1024)

    def execute(
        self, kind: str, *words: str, prompt: str = "say hello", count: int = 1, **more: object
    ) -> Ran:
        """Give workers of a type a prompt; their results are those of the answer."""
        command = ["workers", "execute", "-t", kind, "-n", str(count), "--json"]
        told = ["--prompt-file", "-"] if more.get("given") is not None else ["-p", prompt]
        return self.run(*command, *told, *words, **more)

    def batch(self, *items: Mapping[str, object], **more: object) -> Ran:
        """Have the tasks of a batch carried out; their results are those of the answer, in their order."""
        path = self.work / "batch.json"
        path.write_text(json.dumps(items))
        return self.run("workers", "batch", str(path), "--json", **more)

    def stored(self, text: str, most: int = 100) -> list[WorkerResult]:
        """What the results database finds of a text."""
        return self.run("results", "search", text, "--limit", str(most), "--json").results

    def task(self, result: WorkerResult) -> Task:
        return self.app.state.task(str(result.metadata["task_id"]))

    def raw(self, result: WorkerResult) -> bytes:
        """What the agent put out."""
        return (self.task(result).directory / "stdout.jsonl").read_bytes()

    def events(self, *words: str, **more: object) -> tuple[Ran, list[dict[str, object]]]:
        """A run with ``--jsonl``, and the events that it printed."""
        ran = self.run("workers", "execute", "-n", "1", "--jsonl", *words, **more)
        return ran, [json.loads(line) for line in ran.out.splitlines()]

    def left(self) -> list[str]:
        """What is left of all that ran here: processes, which are ended; half and temporary files; tasks."""
        processes = wait_until_gone(lambda: left_by_test(self.root), GONE_WITHIN)
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        drafts = [path for path in self.state.rglob("*") if _is_draft(path)]
        undone = list((self.state / "open").glob("*"))
        return [*map(str, processes), *map(str, [*drafts, *undone, *self.temporary.iterdir()])]


def verdict(result: WorkerResult) -> tuple[WorkerStatus, object]:
    """Status and reason."""
    return result.status, result.metadata["reason"]


def warnings(result: WorkerResult) -> object:
    return result.metadata["warnings"]


def evidence(result: WorkerResult) -> dict[str, object]:
    return result.metadata["evidence"]


def by_task(results: Iterable[WorkerResult]) -> dict[str, WorkerResult]:
    """Results by their tasks, as storages have them: without what a batch says of its own."""
    return {str(result.metadata["task_id"]): _without_item(result) for result in results}


def _without_item(result: WorkerResult) -> WorkerResult:
    metadata = {name: value for name, value in result.metadata.items() if name != "item"}
    return attrs.evolve(result, metadata=metadata)


def _command(name: str) -> Sequence[str]:
    """The command line of an agent, of this folder or of those that plugins are held against."""
    own = _OWN_AGENTS / f"{name}.py"
    if not own.exists():
        return agent(name)
    beside = Path(agent("speech")[-1]).parent
    return (sys.executable, "-E", "-s", "-S", "-c", _BESIDE_SPEECH, str(beside), str(own))


def _is_draft(path: Path) -> bool:
    """A file or directory that was to be renamed, or removed."""
    return path.name.startswith(".") or _DRAFT.search(path.name) is not None
