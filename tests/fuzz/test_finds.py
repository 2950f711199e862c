"""What fuzzing has found stays found; and some plain inputs, so that each target is tried at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from mahavishnu_core.settings.trust import SHIPPED

from . import settings, stream
from .targets import FINDS, TARGETS

pytestmark = pytest.mark.whole
_ROOT = Path(__file__).parents[2]
LINES = (
    b'{"type":"system","subtype":"init","session_id":"s"}\n',
    b'\xef\xbb\xbf{"type":"assistant","message":{"content":[{"type":"text","text":"a\\ud800\xe2\x80\xa8"}]}}\r\n',
    b'[1]\nWARN: {"type":"result"}\n\x00\xff{"a":' + b"[" * 300 + b"\n",
    b'{"type":"result","subtype":"success","is_error":false,"result":"done","usage":{"input_tokens":1e99}}\n',
    b'{"type":"error","error":{"message":["x"]},"n":' + b"9" * 5000 + b"}\n",
    b'{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n{"type":"result","subty',
)


def finds() -> Iterator[tuple[str, Path]]:
    for target in TARGETS:
        for path in sorted((FINDS / target).glob("*")):
            yield target, path


@pytest.mark.parametrize(("target", "path"), [*finds()], ids=lambda value: getattr(value, "name", value))
def test_what_was_found_holds_now(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("parser", [*stream.PARSERS])
@pytest.mark.parametrize("longest", range(4))
def test_absurd_output_is_read_the_same_however_it_comes(parser: str, longest: int) -> None:
    for lines in (b"".join(LINES), *LINES):
        stream.fuzz(stream.head(parser, longest, bytes([3, 50, 51, 130, 200, 255])) + lines)


@pytest.mark.parametrize("parser", ["claude", "qwen", "codex", "gemini", "opencode"])
def test_a_sample_is_read_the_same_however_it_comes(parser: str) -> None:
    samples = sorted(_ROOT.glob(f"*/mahavishnu-{parser}/mahavishnu_{parser}/samples/*.jsonl"))
    for path in islice(samples, 5):
        stream.fuzz(stream.head(parser, 0, bytes(range(1, 250, 45))) + path.read_bytes())


@pytest.mark.parametrize("place", settings.PLACES)
def test_odd_settings_are_read_or_refused(place: str) -> None:
    odd = (
        b"",
        b"\xff",
        b"a: &a [*a, *a]\n",
        b"[" * 9000,
        b"x=" + b"[" * 9000,
        b"workers: [{name: x, agent: [}]",
    )
    for content in (*odd, *(path.read_bytes() for path in SHIPPED.glob("*.yaml"))):
        settings.fuzz(settings.head(place) + content)


MOST = 1_000_000
LARGE = {
    "sexagesimal.yaml": b"max_concurrent_workers: 1" + b":59" * (MOST // 3 - 20),
    "digits.yaml": b"max_concurrent_workers: " + b"9" * (MOST - 30),
    "dashes.yaml": b"- " * (MOST // 2),
    "flow.yaml": b"a: [" + b"1," * (MOST // 2 - 4) + b"]",
    "keys.yaml": b"".join(b"k%d: 1\n" % number for number in range(90_000)),
    "twice.yaml": b"a: 1\n" * (MOST // 5),
    "escapes.yaml": b'a: "' + b"\\x41" * (MOST // 4 - 2) + b'"',
    "misspelt.yaml": b"".join(b"worker_timeout_second%d: 1\n" % number for number in range(9_000)),
    "words.yaml": b'session_buddy_command: "' + b"a " * (MOST // 8) + b'"',
    "tables.toml": b"".join(b"[a%d.b.c.d.e.f.g.h.i.j.k.l.m.n.o]\n" % number for number in range(25_000)),
    "nested.toml": b"a=" + b"{a=" * (MOST // 3 - 5),
    "array.toml": b"a=[" + b"1," * (MOST // 20) + b"]",
}
"""Found by hand: files whose reading might take time that grows with their square."""


@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_is_read_or_refused_soon(name: str) -> None:
    settings.fuzz(settings.head(f"given/mahavishnu{Path(name).suffix}") + LARGE[name])
