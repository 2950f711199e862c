"""The target ``stream``: what agents put out, for every parser of ours, cut anywhere.

An input begins with a head: whose parser, how long a line may be, and where to cut. The rest is the output.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import attrs
import msgspec

from mahavishnu_core.events import Event, TaskEvent, to_dict
from mahavishnu_core.hookspecs import Parser
from mahavishnu_core.models import Exit, Task, Worker, WorkerType
from mahavishnu_core.stream import LineSplitter, LongLine, ObjectParser, StreamReader, decode
from mahavishnu_core.stream.lines import HEAD
from mahavishnu_core.tally import Tally
from mahavishnu_core.verdict import Seen, result_of

PARSERS = {
    "generic": "mahavishnu_core.stream:GenericParser",
    "lines": "mahavishnu_core.stream:LinesParser",
    "claude": "mahavishnu_claude.parser:ClaudeParser",
    "qwen": "mahavishnu_qwen.parser:QwenParser",
    "codex": "mahavishnu_codex.parser:CodexParser",
    "gemini": "mahavishnu_gemini.parser:GeminiParser",
    "opencode": "mahavishnu_opencode.parser:OpenCodeParser",
}
HEAD_BYTES = 8
_LONGEST = (16 * 1024 * 1024, 2000, 100, 10)
"""How long a line may be; the first is the bound in use."""
_BYTEWISE = 2048
"""Up to so many bytes an input is also read byte by byte."""
_EXIT = Exit(exit_code=0)
_BOM = b"\xef\xbb\xbf"


@attrs.frozen
class Read:
    """All that a reader makes of an output."""

    events: list[Event]
    truncated: bool
    noise: int


def head(parser: str, longest: int = 0, seams: bytes = b"") -> bytes:
    """The head of an input: ``longest`` is an index, ``seams`` are in 256ths of the output."""
    return bytes([list(PARSERS).index(parser), longest]) + seams[: HEAD_BYTES - 2].ljust(
        HEAD_BYTES - 2, b"\x80"
    )


def fuzz(data: bytes) -> None:
    """Nothing raises, the events are the same for any cut and can be written, every byte is accounted for."""
    start, output = data[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0"), data[HEAD_BYTES:]
    name = list(PARSERS)[start[0] % len(PARSERS)]
    longest = _LONGEST[start[1] % len(_LONGEST)]
    whole = _read(name, longest, [output])
    assert _read(name, longest, _cut(output, start[2:])) == whole, "the cut makes a difference"
    if len(output) <= _BYTEWISE:
        assert _read(name, longest, [output[at : at + 1] for at in range(len(output))]) == whole, (
            "so do bytes"
        )
    _require_all_lines(output, longest)
    _require_no_error(name, output)
    _require_writable(whole)


def _read(name: str, longest: int, pieces: Iterable[bytes]) -> Read:
    reader = StreamReader(_parser(name), "lines" if name == "lines" else "stream-json", longest)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return Read(events + reader.end(_EXIT, "the last words"), reader.truncated, reader.noise)


def _parser(name: str) -> Parser:
    module, _, kind = PARSERS[name].partition(":")
    parser: Parser = getattr(importlib.import_module(module), kind)()
    return parser


def _cut(output: bytes, seams: bytes) -> list[bytes]:
    places = [0, *sorted(len(output) * seam // 256 for seam in seams), len(output)]
    return [output[start:end] for start, end in pairwise(places)]


def _require_all_lines(output: bytes, longest: int) -> None:
    """The splitter's lines are what lies between newlines, and nothing is left out."""
    splitter = LineSplitter(longest)
    found = splitter.feed(output)
    rest = splitter.finish()
    *due, last = output.split(b"\n")
    lines = [*due, last] if last else due
    expected = [_line(line, longest, is_first=number == 0) for number, line in enumerate(lines)]
    assert [*found, *([] if rest is None else [rest])] == expected, "a line is not what was put out"


def _line(line: bytes, longest: int, *, is_first: bool) -> bytes | LongLine:
    if len(line) > longest:
        shown = line[:HEAD]
        return LongLine(len(line), shown.removeprefix(_BOM) if is_first else shown)
    return (line.removeprefix(_BOM) if is_first else line).removesuffix(b"\r")


def _require_no_error(name: str, output: bytes) -> None:
    """Our own parsers need nobody who catches what they raise."""
    parser = _parser(name)
    if isinstance(parser, ObjectParser):
        for item in map(decode, output.split(b"\n")):
            if isinstance(item, dict):
                list(parser.read(item))
    list(parser.end(_EXIT, ""))


def _require_writable(read: Read) -> None:
    """Events and result can be printed and stored."""
    for number, event in enumerate(read.events, 1):
        item = TaskEvent("w", "w.1", number, event)
        msgspec.json.encode(item)
        json.dumps(to_dict(item), ensure_ascii=False, allow_nan=False).encode()
    tally = Tally(keeps_text=True)
    tally.add(read.events)
    result = result_of(_WORKER, _TASK, Seen(tally, _EXIT, "the last words", read.truncated, read.noise))
    json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False).encode()


_WORKER = Worker("w", WorkerType("fuzzed", "fuzzed"), Path("/"), "")
_TASK = Task("w.1", "w", "go", 1.0, "", False, "", Path("/"))
