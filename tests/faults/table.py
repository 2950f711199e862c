"""Writes ``docs/reliability.md``: the fault matrix, each row with the tests that show it.

A test belongs to a row by its name: ``test_a10_…`` to A10, wherever in the repository it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

from tests.faults.matrix import Row, sections

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reliability.md"
_TEST = re.compile(r"^(?:async )?def (test_([a-k]\d{1,2})_\w+)", re.MULTILINE)
_HEAD = """\
# Reliability

What can go wrong, what is promised then, and the test that shows it. `nox -s faults` runs the tests of
`tests/faults`, the sessions of the plugins the others. Words, statuses and reasons are those of the
[guide](guide.md#statuses-reasons-and-warnings). Written by `python -m tests.faults.table` from
`tests/faults/matrix.toml`; a test fails where a row has no test.

What no single row shows is tried as a whole:

- `tests/faults/test_model.py`: users, engines, agents and bad luck in any order, held against a model of
  what is promised; a thousand orders by `MAHAVISHNU_MODEL_EXAMPLES=1000`.
- `tests/faults/sweep.py`: an engine or its keeper is killed at each sync, rename, link, removal, start of a
  process and message of a task's life, at each file and directory that is made, and at each opening and
  removal of a file of the database (C7, D2).
- `nox -s soak`: twenty at a time misbehave for four minutes while engines and keepers are killed and storages
  fail; `python -m tests.soak --kills 1000` goes on until so many are dead.
- `nox -s fuzz`: streams and settings that nobody would write, found by a fuzzer.
"""

_COLUMNS = "| | what happens | what is promised | shown by |\n| --- | --- | --- | --- |\n"


@attrs.frozen
class Shown:
    """A test of a row."""

    row: str
    name: str
    path: str
    """From the root of the repository."""


@cache
def shown() -> list[Shown]:
    """All tests that are named after rows, in the order of their files."""
    return [each for path in _files() for each in _in(path)]


def page() -> str:
    by_row: dict[str, list[Shown]] = {}
    for each in shown():
        by_row.setdefault(each.row, []).append(each)
    parts = [_HEAD]
    for section in sections():
        parts.append(f"\n## {section.title}\n\n{_COLUMNS}")
        parts += [_line(row, by_row.get(row.id, [])) for row in section.rows]
    return "".join(parts)


def _files() -> Iterator[Path]:
    yield from sorted(ROOT.glob("tests/**/test_*.py"))
    yield from sorted(ROOT.glob("plugins/*/tests/test_*.py"))


def _in(path: Path) -> Iterator[Shown]:
    for found in _TEST.finditer(path.read_text(encoding="utf-8")):
        yield Shown(found[2].upper(), found[1], str(path.relative_to(ROOT)))


def _line(row: Row, found: list[Shown]) -> str:
    links = "; ".join(f"[{_words(test)}](../{test.path})" for test in found)
    return f"| {row.id} | {row.fault} | {row.promise} | {links} |\n"


def _words(test: Shown) -> str:
    return test.name.removeprefix(f"test_{test.row.lower()}_").replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
