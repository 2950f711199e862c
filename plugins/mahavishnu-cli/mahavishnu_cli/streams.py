"""What the command says: results to standard output, everything else to standard error."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from mahavishnu_core.models import JSON

_GONE = {errno.EPIPE, errno.EIO}
"""The reader has left: a closed pipe, a terminal that was hung up."""

_lost: list[str] = []


def prepare() -> None:
    """Have text that the terminal's encoding lacks written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def emit(text: str) -> None:
    """Write a result for people, with a newline; what a terminal would obey is shown as escapes."""
    _write(sys.stdout, _visible(text) + "\n")


def emit_json(value: JSON) -> None:
    """Write one JSON document, in ASCII: valid in every locale, and nothing in it that a terminal obeys."""
    import json

    _write(sys.stdout, json.dumps(value, indent=2 if sys.stdout.isatty() else None) + "\n")


def emit_json_line(value: JSON) -> None:
    import json

    _write(sys.stdout, json.dumps(value) + "\n")


def emit_bytes(data: bytes) -> None:
    """Write bytes as they are."""
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        give_up(sys.stdout, error)


def say(text: str) -> None:
    """Write a line for people to standard error."""
    _write(sys.stderr, _visible(text) + "\n")


def complain(text: str) -> None:
    """Say what went wrong; each of its lines says whose words they are."""
    for line in text.splitlines() or [""]:
        say(f"mahavishnu: {line}")


def lost_output() -> bool:
    """Whether something could not be written though somebody still wanted to read it."""
    return bool(_lost)


def _visible(text: str) -> str:
    from mahavishnu_core.text import printable

    return printable(text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        give_up(stream, error)


def give_up(stream: TextIO, error: OSError) -> None:
    """Let the command go on without a reader: tasks do not end because nobody looks."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    if error.errno not in _GONE:
        _lost.append(str(error))
        complain(f"cannot write the output: {error.strerror}")
