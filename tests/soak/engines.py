"""The commands of a soak: each a program of its own, its output in files, and how it ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from tests.faults.site import PROGRAM, Site

from .load import Given

_USAGE = ("is busy", "is closed", "is being carried out already", "there is no worker")
"""What others may have done meanwhile to the worker or batch that a command names."""
_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.define(eq=False)
class Engine:
    """A command that runs or has run."""

    number: int
    given: Given
    directory: Path
    process: trio.Process
    began: float = attrs.field(factory=time.monotonic)
    signals: list[signal.Signals] = attrs.field(factory=list)
    """Those that it was sent while it ran."""

    def __str__(self) -> str:
        words = [word if len(word) < 40 else f"{word[:40]}..." for word in self.given.words]
        sent = f", sent {' '.join(number.name for number in self.signals)}" if self.signals else ""
        return f"engine {self.number} ({' '.join(words)!r}{sent})"

    @property
    def out(self) -> bytes:
        return _output(self.directory, self.number, "out").read_bytes()

    @property
    def err(self) -> bytes:
        return _output(self.directory, self.number, "err").read_bytes()

    @property
    def has_spoken(self) -> bool:
        """Whether it has said anything: it does as soon as it has tasks."""
        return any(_output(self.directory, self.number, name).stat().st_size for name in ("out", "err"))

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    def send(self, number: signal.Signals) -> bool:
        """False where it has ended."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        self.signals.append(number)
        return True

    def faults(self) -> Iterator[str]:
        """What is wrong with how it ended, and with what it said."""
        status, err = self.process.returncode, self.err.decode("utf-8", "replace")
        if status not in self._possible(err):
            yield f"{self}: exit status {status}: {err[-500:]!r}"
        for words in ("Traceback", "internal error", "Warning:"):
            if words in err and not self._is_pythons_own(err):
                yield f"{self}: {words!r} in its error output: {err[-2000:]!r}"

    def _is_pythons_own(self, err: str) -> bool:
        """Whether Ctrl-C came while Python itself began: none of our code could have been there yet."""
        return signal.SIGINT in self.signals and "KeyboardInterrupt" in err and "/mahavishnu_" not in err

    def _possible(self, err: str) -> set[int | None]:
        found: set[int | None] = {0, 1, 4}
        if any(words in err for words in _USAGE):
            found.add(2)
        for number in self.signals:
            # before it heeds signals it dies of them
            found |= {-number, 128 + number} if number in _DEADLY else {-number}
        return found


@contextmanager
def _files(directory: Path, number: int) -> Iterator[dict[str, object]]:
    with (
        _output(directory, number, "out").open("wb") as out,
        _output(directory, number, "err").open("wb") as err,
    ):
        yield {"stdout": out, "stderr": err}


def _output(directory: Path, number: int, name: str) -> Path:
    return directory / f"engine-{number}.{name}"


async def start(site: Site, directory: Path, number: int, given: Given) -> Engine:
    """Start the installed program with a command line."""
    with _files(directory, number) as files:
        process = await trio.lowlevel.open_process(
            [PROGRAM, *given.words], cwd=site.work, env=site.environ, stdin=subprocess.DEVNULL, **files
        )
    return Engine(number, given, directory, process)
