"""How fast the stream reader is beside a bare loop of its JSON library, and how much memory it takes.

    python tests/benchmarks/reading.py [--megabytes 1024]

Speed: each agent's parser on its own recorded transcripts, and the generic one on all. The lines that are
JSON go, over and over, through ``for line in data.split(b"\\n"): orjson.loads(line)`` and, in chunks of
64 KiB, through a StreamReader with the parser. The rounds take turns; medians of processor time are compared.
Memory: a process each reads a stream of that size, once of these lines and once without any newline; what
counts is the largest resident set (VmHWM of Linux).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import orjson

from mahavishnu_claude.parser import ClaudeParser
from mahavishnu_core.hookspecs import Parser
from mahavishnu_core.models import Exit
from mahavishnu_core.stream import GenericParser, StreamReader
from mahavishnu_qwen.parser import QwenParser

ROOT = Path(__file__).parents[2]
CASES: dict[Callable[[], Parser], str] = {
    ClaudeParser: "plugins/mahavishnu-claude/mahavishnu_claude/samples/*.jsonl",
    QwenParser: "plugins/mahavishnu-qwen/mahavishnu_qwen/samples/*.jsonl",
    GenericParser: "plugins/*/mahavishnu_*/samples/*.jsonl",
}
CHUNK = 64 * 1024
BYTES_A_ROUND = 4 * 1024 * 1024
MEGA = 1024 * 1024
LEAST_RATIO = 0.5
MOST_MEGABYTES = 100


def main() -> None:
    options = _options()
    if options.memory:
        lines = _lines("plugins/*/mahavishnu_*/samples/*.jsonl") if options.memory == "lines" else []
        _read_much(lines, options.megabytes)
        return
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} processors")
    for maker, pattern in CASES.items():
        _compare(maker, _lines(pattern), options.rounds)
    for kind in ("lines", "flood"):
        command = [sys.executable, __file__, *sys.argv[1:], "--memory", kind]
        subprocess.run(command, check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the streams for the memory")
    parser.add_argument("--memory", choices=["lines", "flood"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _lines(pattern: str) -> list[bytes]:
    """The lines of all transcripts that are JSON."""
    data = b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in sorted(ROOT.glob(pattern)))
    return [line for line in data.split(b"\n") if _is_json(line)]


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _compare(maker: Callable[[], Parser], lines: list[bytes], rounds: int) -> None:
    times = -(-BYTES_A_ROUND // sum(map(len, lines)))
    data = b"\n".join(lines * times)
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    pairs = [(_timed(_loop, data), _timed(_read, maker, chunks)) for _ in range(rounds)]
    bare, reader = (len(lines) * times / statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = reader / bare
    size = sum(map(len, lines)) // len(lines)
    print(f"{maker.__name__}: {len(lines)} lines of {size} bytes on average")
    print(f"  bare loop of orjson  {bare:10,.0f} lines/s")
    print(f"  StreamReader         {reader:10,.0f} lines/s")
    is_met = _met(ratio >= LEAST_RATIO)
    print(f"  ratio                {ratio:10.2f}           bound: at least {LEAST_RATIO}, {is_met}")


def _timed(work: Callable[..., None], *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def _loop(data: bytes) -> None:
    for line in data.split(b"\n"):
        orjson.loads(line)


def _read(maker: Callable[[], Parser], chunks: list[bytes]) -> None:
    reader = StreamReader(maker(), "stream-json")
    for chunk in chunks:
        reader.feed(chunk)
    reader.end(Exit(exit_code=0), "")


def _read_much(lines: list[bytes], megabytes: int) -> None:
    reader = StreamReader(GenericParser(), "stream-json")
    size = events = 0
    for chunk in _stream(lines, megabytes * MEGA):
        events += len(reader.feed(chunk))
        size += len(chunk)
    events += len(reader.end(Exit(exit_code=0), ""))
    peak = _largest_resident_set() / MEGA
    kind = "of lines" if lines else "without a newline"
    print(f"{size // MEGA} MiB {kind}: {events:,} events, resident set up to {peak:.0f} MiB", end="   ")
    print(f"bound: under {MOST_MEGABYTES}, {_met(peak < MOST_MEGABYTES)}")


def _stream(lines: list[bytes], size: int) -> Iterator[bytes]:
    part = b"".join(line + b"\n" for line in lines) or b"x" * CHUNK
    for piece in repeat(part, -(-size // len(part))):
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]


def _largest_resident_set() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT met"


if __name__ == "__main__":
    main()
