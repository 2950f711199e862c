"""YAML that people write, read event by event: plain data only, no aliases, no tags, no key twice.

Reading events keeps us clear of the loader's recursion, which ends the process on a deeply nested file
(seen in PyYAML 6.0.3 with libyaml), and gives every key its line.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol, TypeVar

import attrs
import yaml

from mahavishnu_core.settings.document import (
    MAX_DEPTH,
    MAX_PROBLEMS,
    MORE,
    Document,
    Key,
    Listing,
    Problem,
)

_PREFIX = "tag:yaml.org,2002:"
_CONVERTED = {f"{_PREFIX}{name}" for name in ("null", "bool", "int", "float")}
_TEXT = {f"{_PREFIX}{name}" for name in ("str", "timestamp", "merge", "value")}
"""What YAML may take a plain word for, and we take for text: a date, say, is wanted nowhere."""

_MOST_SETTINGS, _MOST_ITEMS = 10_000, 1_000_000
"""Values in a file of settings, and in a list of tasks: an item has up to six."""
_MAX_COLONS = 10
"""In a number to the base of 60 (1:59:59): to read it takes time that grows with their square."""
_REFUSED = object()

Many = TypeVar("Many", dict[str, object], list[object])


class _GivenUp(Exception):
    """The reader has read enough of the file."""


class _Events(Protocol):
    """What we use of a PyYAML loader."""

    def check_event(self, *kinds: type[yaml.Event]) -> bool: ...
    def peek_event(self) -> yaml.Event: ...
    def get_event(self) -> yaml.Event: ...
    def resolve(self, kind: type[yaml.Node], value: str, implicit: object) -> str: ...
    def construct_object(self, node: yaml.Node) -> object: ...
    def dispose(self) -> None: ...


def parse_yaml(text: str) -> Document:
    """The keys and values of one YAML document; faults of form are among its problems."""
    found = _read(text, _MOST_SETTINGS)
    data, problems = _as_wanted(found, {}, "must be keys with values: KEY: VALUE")
    return Document(data, found.lines, problems)


def parse_yaml_list(text: str) -> Listing:
    """The same of a document that is a list."""
    found = _read(text, _MOST_ITEMS)
    items, problems = _as_wanted(found, [], "must be a list: - VALUE")
    return Listing(items, found.lines, problems)


@attrs.frozen
class _Found:
    """What a document holds: keys with values, a list, a single value, or nothing."""

    data: object = None
    lines: dict[Key, int] = attrs.field(factory=dict)
    problems: tuple[Problem, ...] = ()


def _as_wanted(found: _Found, empty: Many, demand: str) -> tuple[Many, tuple[Problem, ...]]:
    """The data if they are of the kind of the empty one, which stands for nothing."""
    if isinstance(found.data, type(empty)):
        return found.data, found.problems
    if found.data is None:
        return empty, found.problems
    return empty, (*found.problems, Problem((), demand, 1))


def _read(text: str, most: int) -> _Found:
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is not always built
    problems: list[Problem] = []
    try:
        loader: _Events = loader_class(text)
        try:
            return _Reader(loader, problems, most).document()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        problems.append(_syntax_problem(error, text))
    except _GivenUp as error:
        problems.append(Problem((), *error.args))
    return _Found(problems=tuple(problems))


@attrs.define
class _Reader:
    """Reads the events of one document into values."""

    _loader: _Events
    _problems: list[Problem]
    _most: int
    """Values that are read."""
    _lines: dict[Key, int] = attrs.field(factory=dict)

    def document(self) -> _Found:
        self._loader.get_event()
        if self._loader.check_event(yaml.StreamEndEvent):
            return _Found()
        self._loader.get_event()
        data = self._value(())
        self._loader.get_event()
        if not self._loader.check_event(yaml.StreamEndEvent):
            self._note((), "holds more than one document ('---')", self._loader.peek_event())
        return _Found(None if data is _REFUSED else data, self._lines, tuple(self._problems))

    def _value(self, key: Key) -> object:
        """The next value, or ``_REFUSED`` with a problem noted."""
        event = self._loader.get_event()
        if len(key) > MAX_DEPTH:
            raise _GivenUp("is nested too deep", _line(event))
        if len(self._lines) > self._most:
            raise _GivenUp(f"holds more than {self._most} values", _line(event))
        if isinstance(event, yaml.AliasEvent):
            return self._note(key, "aliases (*name) are not read here: write the value out", event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(key, event)
        value = self._list(key) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(key)
        if getattr(event, "tag", None) not in (None, "!", f"{_PREFIX}seq", f"{_PREFIX}map"):
            return self._note(key, "tags (!name) are not allowed", event)
        return value

    def _list(self, key: Key) -> list[object]:
        found: list[object] = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            here = (*key, len(found))
            self._lines[here] = _line(self._loader.peek_event())
            value = self._value(here)
            if value is not _REFUSED:
                found.append(value)
        self._loader.get_event()
        return found

    def _mapping(self, key: Key) -> dict[str, object]:
        found: dict[str, object] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            start = self._loader.peek_event()
            if not isinstance(start, yaml.ScalarEvent):
                self._note(key, "has a key that is not text", start)
                self._value((*key, "?"))
                self._value((*key, "?"))
                continue
            self._loader.get_event()
            name = start.value
            here = (*key, name)
            twice = name in found
            if twice:
                self._note(here, f"is here twice, first on line {self._lines[here]}", start)
            else:
                self._lines[here] = _line(start)
            value = self._value(here)
            if value is not _REFUSED and not twice:
                found[name] = value
        self._loader.get_event()
        return found

    def _scalar(self, key: Key, event: yaml.ScalarEvent) -> object:
        tag = event.tag
        if tag in (None, "!"):
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag in _TEXT:
            return event.value
        if tag not in _CONVERTED:
            return self._note(key, "tags (!name) are not allowed", event)
        if event.value.count(":") <= _MAX_COLONS:
            with suppress(ValueError, KeyError):
                return self._loader.construct_object(yaml.ScalarNode(tag, event.value))
        return self._note(key, "is not the number or truth value that it looks like", event)

    def _note(self, key: Key, text: str, event: yaml.Event) -> object:
        if len(self._problems) == MAX_PROBLEMS:
            raise _GivenUp(MORE, _line(event))
        self._problems.append(Problem(key, text, _line(event)))
        return _REFUSED


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return Problem((), "is not YAML: it holds a character that is not allowed in a text file")
    line = mark.line + 1
    nearby = text.split("\n")[mark.line : line]
    if any("\t" in words[: len(words) - len(words.lstrip())] for words in nearby):
        return Problem((), "is not YAML: indent with spaces, not with tabs", line)
    return Problem((), f"is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}", line)
