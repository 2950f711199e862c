"""What the tests of the command line share: running it, in this process or as a program, FIFOs, terminals."""

from __future__ import annotations

import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import attrs
import pytest

from mahavishnu_cli.main import run
from mahavishnu_core.testing.environs import MIRRORS_NOTHING

PROGRAM = Path(sys.executable).with_name("mahavishnu")
PATIENCE = 30
"""Seconds for what takes one: a test that needs them has failed."""


@attrs.frozen
class Ran:
    """What came of a command line."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class Home:
    """A user's home, a working directory, and a state directory of their own, for programs started here."""

    path: Path
    capture: Callable[[], tuple[str, str]]

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def work(self) -> Path:
        return self.path / "work"

    def run(self, *arguments: str) -> Ran:
        """Run the command line in this process."""
        self.capture()
        status = run([str(argument) for argument in arguments])
        return Ran(status, *self.capture())

    def start(self, *arguments: object, **options: object) -> subprocess.Popen:
        """Start the installed program, its output in pipes unless told otherwise."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [str(word) for word in (PROGRAM, *arguments)]
        return subprocess.Popen(command, **{**pipes, "text": True, **options})

    def finish(self, process: subprocess.Popen, given: str | None = None) -> Ran:
        out, err = process.communicate(given, timeout=PATIENCE)
        return Ran(process.returncode, out, err)

    def script(self, *arguments: object, given: str | None = None, **options: object) -> Ran:
        """Run the installed program."""
        if given is not None:
            options["stdin"] = subprocess.PIPE
        return self.finish(self.start(*arguments, **options), given)

    def in_shell(self, line: str) -> Ran:
        """Run a line of a shell, in which ``mahavishnu`` is the installed program."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        command = ["/bin/sh", "-c", line]
        return self.finish(subprocess.Popen(command, env={**os.environ, "PATH": path}, text=True, **pipes))

    def detach(self, prompt: str) -> dict[str, str]:
        """Have a shell worker begin a task that goes on by itself; its worker_id and task_id."""
        (task,) = self.execute(prompt, "--detach", "--json").json
        return task

    def leave(self, prompt: str) -> dict[str, str]:
        """Have a shell worker do a task whose end no engine sees; its worker_id and task_id."""
        task = self.detach(prompt)
        exit_file = self.state / "workers" / task["worker_id"] / "tasks" / task["task_id"] / "exit.json"
        began = time.monotonic()
        while not exit_file.exists():
            assert time.monotonic() < began + PATIENCE, f"{task} has not ended"
            time.sleep(0.01)
        return task

    def write(self, name: str, text: str) -> Path:
        """Put a file into the working directory; a script can be run."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
        return path

    def offer_type_without_place(self, name: str) -> None:
        """Settings of the user's with a type in a place that no plugin brings."""
        path = self.path / "config/mahavishnu/ecosystem.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"workers:\n  - {{name: {name}, agent: shell, place: nowhere}}\n")

    def execute(self, prompt: str, *more: str) -> Ran:
        return self.run("workers", "execute", "-t", "shell", "-n", "1", "-p", prompt, *more)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    made = Home(tmp_path, capsys.readouterr)
    made.work.mkdir()
    monkeypatch.chdir(made.work)
    for name in list(os.environ):
        if name.startswith(("MAHAVISHNU_", "_MAHAVISHNU")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAHAVISHNU_STATE_DIR", str(made.state))
    for name, value in MIRRORS_NOTHING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")  # whatever this machine has
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return made


@attrs.frozen
class Fifo:
    """A FIFO by which a command and a test wait for each other."""

    path: Path

    def heard(self) -> str:
        """Wait until a command has written here and closed it; what it wrote."""
        with self.path.open() as file:
            return file.read()

    def let_in(self) -> None:
        """Wait until a command reads from here, and let it go on."""
        with self.path.open("w") as file:
            file.write("go\n")


@pytest.fixture
def bell(tmp_path: Path) -> Fifo:
    """Where a command says that it has begun: ``echo here > $BELL``."""
    return _fifo(tmp_path / "bell")


@pytest.fixture
def gate(tmp_path: Path) -> Fifo:
    """Where a command waits for the test: ``read x < $GATE``."""
    return _fifo(tmp_path / "gate")


def _fifo(path: Path) -> Fifo:
    os.mkfifo(path)
    return Fifo(path)


@pytest.fixture
def waiting(bell: Fifo, gate: Fifo) -> str:
    """A prompt for a shell worker that says that it has begun, waits at the gate, and says a last word."""
    return f"echo begun; echo here > {bell.path}; read x < {gate.path}; echo done"


@attrs.define
class Terminal:
    """A pseudo-terminal on which the program runs."""

    master: int
    slave: int
    seen: str = ""

    def until(self, words: str) -> None:
        """Read until the program has shown these words."""
        while words not in self.seen:
            readable, _, _ = select.select([self.master], [], [], PATIENCE)
            assert readable, f"it never showed {words!r}: {self.seen!r}"
            self.seen += os.read(self.master, 65536).decode("utf-8", "replace")

    def all(self) -> str:
        """Read on until the program has closed its end."""
        os.close(self.slave)
        try:
            while chunk := os.read(self.master, 65536):
                self.seen += chunk.decode("utf-8", "replace")
        except OSError:  # how Linux says that the other end is closed
            pass
        return self.seen


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    yield Terminal(master, slave)
    os.close(master)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Installs a plugin for the programs that a test starts: its name and the source of its module."""
    site = tmp_path / "site"

    def install(name: str, source: str) -> None:
        info = site / f"mahavishnu_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mahavishnu-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mahavishnu]\n{name} = {name}_hooks\n")
        (site / f"{name}_hooks.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(site))

    return install
