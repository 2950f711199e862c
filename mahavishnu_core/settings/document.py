"""A file that people write turned into plain data, with the line of every key and all faults of form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from mahavishnu_core.errors import SettingsError
from mahavishnu_core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Key: TypeAlias = tuple[str | int, ...]
"""Where a value lies: ``("workers", 0, "agent")``."""

MAX_DEPTH = 16
MAX_PROBLEMS = 50
MORE = "has more faults than are listed here"
_MAX_DOTS, _MAX_DOTS_IN_ALL = 16, 10_000


@attrs.frozen
class Problem:
    """A fault in a file: where, and what is wrong, without the value itself."""

    key: Key
    text: str
    line: int | None = None


@attrs.frozen
class Document:
    """What a file says."""

    data: Mapping[str, object] = attrs.field(factory=dict)
    lines: Mapping[Key, int] = attrs.field(factory=dict)
    problems: tuple[Problem, ...] = ()


@attrs.frozen
class Listing:
    """What a file says that is a list."""

    items: Sequence[object] = ()
    lines: Mapping[Key, int] = attrs.field(factory=dict)
    problems: tuple[Problem, ...] = ()


def parse(path: Path, content: bytes) -> Document:
    """The data of a YAML or TOML file. What cannot be read at all is a document with one problem."""
    text = decode(content)
    if isinstance(text, Problem):
        return Document(problems=(text,))
    if path.suffix == ".toml":
        return _parse_toml(text)
    from mahavishnu_core.settings.yaml_reader import parse_yaml

    return parse_yaml(text)


def parse_list(text: str) -> Listing:
    """The data of a YAML file that is a list."""
    from mahavishnu_core.settings.yaml_reader import parse_yaml_list

    return parse_yaml_list(text)


def decode(content: bytes) -> str | Problem:
    """The text of a file, or why it has none."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem((), "is not UTF-8 text", line)
    if text.startswith("\ufeff"):
        return Problem((), "begins with a byte order mark: save it as UTF-8 without one", 1)
    return text


def describe(path: Path | str, problem: Problem) -> str:
    """One line for people: ``FILE:LINE: KEY: what is wrong``."""
    place = str(path) if problem.line is None else f"{path}:{problem.line}"
    return one_line(": ".join(filter(None, (place, _spell(problem.key), problem.text))))


def line_of(key: Key, lines: Mapping[Key, int]) -> int | None:
    """The line of a key, or of the nearest thing that it is in."""
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key)


def refuse(path: Path, problems: list[Problem]) -> SettingsError:
    """All the problems of a file as an error, in the order of its lines."""
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    return SettingsError([describe(path, problem) for problem in ordered])


def _spell(key: Key) -> str:
    """``workers[0].agent``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in key]
    return "".join(parts).removeprefix(".")


def _parse_toml(text: str) -> Document:
    import tomllib

    # the parser takes time and memory that grow with the square of a dotted key's length
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            return _broken(f"has more than {_MAX_DOTS} dots on one line", number)
    if text.count(".") > _MAX_DOTS_IN_ALL:  # each may begin a table
        return _broken(f"has more than {_MAX_DOTS_IN_ALL} dots")
    try:
        return Document(tomllib.loads(text))
    except RecursionError:
        return _broken("is nested too deep")
    except ValueError as error:
        return _toml_fault(str(error))


def _toml_fault(message: str) -> Document:
    # "Invalid value (at line 3, column 5)", "Invalid value (at end of document)"
    text, _, place = message.partition(" (at ")
    line = re.match(r"line (\d+)", place)
    return _broken(f"is not TOML: {text[:1].lower()}{text[1:]}", int(line[1]) if line else None)


def _broken(text: str, line: int | None = None) -> Document:
    return Document(problems=(Problem((), text, line),))
