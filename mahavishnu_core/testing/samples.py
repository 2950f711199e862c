"""Recorded runs of agents: what a program put out, how it ended, and what that comes to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from mahavishnu_core.models import Exit, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mahavishnu_core.models import Cause


@attrs.frozen
class Sample:
    """One recorded run of the program of a worker type, and the verdict that is due."""

    name: str
    worker_type: str
    stdout: bytes = attrs.field(repr=False)
    """Byte for byte."""
    stderr: str = ""
    exit_code: int | None = 0
    signal: str | None = None
    cause: Cause | None = None
    """Why we ended it, if we did: a standing worker never ends by itself."""
    status: WorkerStatus = attrs.field(default=WorkerStatus.COMPLETED, converter=WorkerStatus)
    reason: str | None = None
    """The ``metadata.reason`` that is due."""
    output: str | None = None
    """The answer that is due; None where it is not compared."""
    resume: bool = False
    """Whether it went on with the conversation of an earlier run."""
    version: str = ""
    """The version of the program that was recorded."""
    argv: tuple[str, ...] = ()
    """How it was called, for people."""

    @property
    def exit(self) -> Exit:
        return Exit(exit_code=self.exit_code, signal=self.signal, cause=self.cause)


def samples_in(directory: Path, worker_type: str) -> Iterator[Sample]:
    """The samples in a directory: ``NAME.jsonl`` is the standard output, ``NAME.json`` the other fields.

    Raises ``TypeError`` and ``ValueError`` for a file with fields that a sample has not.
    """
    for path in sorted(directory.glob("*.jsonl")):
        fields = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        fields["argv"] = tuple(fields.get("argv", ()))
        yield Sample(path.stem, worker_type, path.read_bytes(), **fields)
