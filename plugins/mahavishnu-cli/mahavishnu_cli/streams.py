"""What the command says: results to standard output, everything else to standard error.

What plugins print is no result: where their code runs, ``sys.stdout`` is standard error.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mahavishnu_core.models import JSON

_GONE = {errno.EPIPE, errno.EIO}
"""The reader has left: a closed pipe, a terminal that was hung up."""

_lost: list[str] = []
_kept: list[TextIO] = []
"""The standard output for results, while others are given standard error in its place."""
_unread: list[TextIO] = []
_passing: list[str] = []
"""The line on the terminal that the next one takes the place of."""


def prepare() -> None:
    """Have text that the terminal's encoding lacks written as escapes, instead of failing."""
    _lost.clear()
    _unread.clear()
    _passing.clear()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def diverted() -> Iterator[None]:
    """Run foreign code: what it prints goes to standard error, what we emit to standard output."""
    if _kept:
        yield
        return
    _kept.append(sys.stdout)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = _kept.pop()


def output() -> TextIO:
    """Where results go."""
    return _kept[0] if _kept else sys.stdout


def emit(text: str) -> None:
    """Write a result for people, with a newline; what a terminal would obey is shown as escapes."""
    _write(output(), _visible(text) + "\n")


def emit_json(value: JSON) -> None:
    """Write one JSON document, in ASCII: valid in every locale, and nothing in it that a terminal obeys."""
    import json

    _write(output(), json.dumps(value, indent=2 if output().isatty() else None) + "\n")


def emit_json_line(value: JSON) -> None:
    import json

    _write(output(), json.dumps(value) + "\n")


def emit_bytes(data: bytes) -> None:
    """Write bytes as they are."""
    stream = output()
    try:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
    except OSError as error:
        give_up(stream, error)


def say(text: str) -> None:
    """Write a line for people to standard error."""
    if _passing:
        replace_line("")
    _write(sys.stderr, _visible(text) + "\n")


def replace_line(text: str) -> None:
    """Show a line on the terminal in place of the one before; an empty one takes that away."""
    if not text and not _passing:
        return
    _passing[:] = [text] if text else []
    # without wrapping: of a longer line only what is on the cursor's own would be erased
    _write(sys.stderr, f"\r\x1b[2K\x1b[?7l{_visible(text)}\x1b[?7h")


def complain(text: str) -> None:
    """Say what went wrong; each of its lines says whose words they are."""
    for line in text.splitlines() or [""]:
        say(f"mahavishnu: {line}")


def lost_output() -> bool:
    """Whether something could not be written though somebody still wanted to read it."""
    return bool(_lost)


def is_unread() -> bool:
    """Whether nobody is left to read the results."""
    return output() in _unread


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
    _unread.append(stream)
    if error.errno not in _GONE:
        _lost.append(str(error))
        complain(f"cannot write the output: {error.strerror}")
