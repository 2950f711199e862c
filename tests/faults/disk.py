"""A small disk that only some programs see, and that a test can fill, empty and write-protect."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

_MOUNT = 'mount -t tmpfs -o mode=700,size="$1" none "$0" && echo ready && read _'
_BACK = 'cd "$0" && exec "$@"'
"""Whoever enters a mount namespace finds itself at the root."""


@attrs.frozen
class Disk:
    """Mounted in a namespace of its own, which is there as long as a process that waits in it."""

    pid: int
    place: Path
    """Where it is mounted, for the programs that see it."""

    @property
    def path(self) -> Path:
        """The same for everybody else."""
        return Path(f"/proc/{self.pid}/root{self.place}")

    def prefix(self, cwd: Path) -> tuple[str, ...]:
        """What a command line begins with that is to see the disk."""
        enter = ["-m"] if os.geteuid() == 0 else ["-U", "--preserve-credentials", "-m"]
        return ("nsenter", "-t", str(self.pid), *enter, "--", "sh", "-c", _BACK, str(cwd))

    def fill(self) -> None:
        """Until no byte can be written any more."""
        with (self.path / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        if (ballast := self.path / "ballast").exists():
            ballast.unlink()

    def protect(self) -> None:
        """Against all writing."""
        remount = ["mount", "-o", "remount,bind,ro", str(self.place)]
        subprocess.run([*self.prefix(Path("/")), *remount], check=True)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Disk]:
    """A disk of so many bytes (``2m``) at a place, until the block is left."""
    place.mkdir(mode=0o700)
    alone = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    words = ["unshare", *alone, "sh", "-c", _MOUNT, str(place), size]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as holder:
        if holder.stdout.readline() != "ready\n":
            cannot(f"no disk of its own can be mounted here: {holder.stderr.read().strip()}")
        disk = Disk(holder.pid, place)
        try:
            yield disk
        finally:
            disk.make_room()  # a keeper does not end before it could write what it has seen


def cannot(reason: str) -> None:
    """A test cannot be run here: it is skipped, unless every one has to be run."""
    if os.environ.get("MAHAVISHNU_REQUIRE_FAULTS"):
        pytest.fail(reason)
    pytest.skip(reason)
