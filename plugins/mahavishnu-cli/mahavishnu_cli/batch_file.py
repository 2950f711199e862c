"""The file of a batch: its tasks, read and checked, with every fault in it said at once."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from mahavishnu_core.errors import UsageError
from mahavishnu_core.settings import TIMEOUT_SECONDS, did_you_mean, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mahavishnu_core.models import JSON

    Faults: TypeAlias = Iterator[tuple[str, str]]
    """Keys of an item, and what is wrong with them; the key is empty for the item itself."""

_KEYS = ("prompt", "worker_type", "worker_id", "timeout", "repo", "id")
_FORMS = (".yaml", ".yml", ".json", ".jsonl")
_BEGINNINGS = {"{": ".jsonl", "[": ".json"}
"""Which form begins like that, where no name says it."""
_MOST_DIGITS = 18
_SURROGATE = re.compile("[\ud800-\udfff]")


@attrs.frozen
class Source:
    """What a batch is read from."""

    name: str
    """What people call it."""
    identity: str
    """What it is known by when it is given again."""
    home: Path
    """The directory that its paths are seen from."""
    form: str
    text: str


@attrs.frozen
class Item:
    """One task of a batch."""

    name: str
    """Its ``id``, or its number in the file, from 1."""
    key: str
    """What it is known by when the batch goes on: its id, or its number and what it says."""
    prompt: str
    worker_type: str | None
    worker_id: str | None
    timeout: float | None
    repo: Path | None


@attrs.frozen
class Known:
    """What items may name; each check raises UsageError."""

    worker_type: Callable[[str], object]
    worker_id: Callable[[str], object]


def read_source(file: str) -> Source:
    """The file of that path, or standard input for ``-``. Raises UsageError."""
    path, is_input = Path(file), file == "-"
    try:
        content = sys.stdin.buffer.read() if is_input else path.read_bytes()
    except OSError as error:
        what = "standard input" if is_input else f"the batch file {file!r}"
        raise UsageError(f"{what} cannot be read: {error.strerror}") from None
    name = "standard input" if is_input else file
    text = document.decode(content)
    if isinstance(text, document.Problem):
        raise UsageError(document.describe(name, text))
    form = path.suffix if path.suffix in _FORMS else _BEGINNINGS.get(text.lstrip()[:1], ".yaml")
    identity = str(path.absolute())
    if is_input:  # what is given in the same place need not be the same batch: all of it has to be
        identity += f"\0{text}"
    return Source(name, identity, path.parent, form, text)


def read_items(source: Source, known: Known) -> list[Item]:
    """The items of a YAML, JSON or JSON lines text. Raises UsageError with all that is wrong in it."""
    listing = _parse(source)
    _require_none(source, listing.problems)
    if not listing.items:
        raise UsageError(f"{source.name}: holds no tasks")
    _require_none(source, _problems(listing, source.home, known))
    records = cast("Iterable[dict[str, JSON]]", listing.items)
    return [_item(number, record, source.home) for number, record in enumerate(records, 1)]


def _require_none(source: Source, problems: Iterable[document.Problem]) -> None:
    rest = iter(problems)
    told = list(islice(rest, document.MAX_PROBLEMS))
    if next(rest, None):
        told.append(document.Problem((), document.MORE))
    if told:
        raise UsageError("\n".join(document.describe(source.name, problem) for problem in told))


def _parse(source: Source) -> document.Listing:
    match source.form:
        case ".jsonl":
            return _parse_lines(source.text)
        case ".json":
            return _parse_json(source.text)
    listing = document.parse_list(source.text)
    # the reader leaves out what it refuses, so that its numbers of items need not be ours
    problems = [attrs.evolve(problem, key=problem.key[1:]) for problem in listing.problems]
    return attrs.evolve(listing, problems=tuple(problems))


def _parse_lines(text: str) -> document.Listing:
    values: list[object] = []
    lines: dict[document.Key, int] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            value = _load(line)
            if isinstance(value, document.Problem):
                problems.append(attrs.evolve(value, line=number))
            lines[(len(values),)] = number
            values.append(value)
    return _listing(values, lines, problems)


def _parse_json(text: str) -> document.Listing:
    value = _load(text) if text and not text.isspace() else []
    if isinstance(value, list):
        return _listing(value, {}, [])
    if not isinstance(value, document.Problem):
        value = document.Problem((), 'must be a list: [{"prompt": …}, …]', 1)
    return document.Listing(problems=(value,))


class _Pairs(tuple[tuple[str, object], ...]):
    """A JSON object as it is written: it may hold a key twice."""

    __slots__ = ()


def _load(text: str) -> object:
    """The value that a JSON text says, or a Problem."""
    try:
        return json.loads(text, object_pairs_hook=_Pairs, parse_int=_number)
    except RecursionError:
        return document.Problem((), "is nested too deep")
    except json.JSONDecodeError as error:
        words = f"{error.msg[:1].lower()}{error.msg[1:]}"
        return document.Problem((), f"is not JSON: {words} (column {error.colno})", error.lineno)


def _number(digits: str) -> float:
    """A whole number, or what is near to one that no key may hold: Python refuses to read the longest."""
    return int(digits) if len(digits) <= _MOST_DIGITS + len("-") else float(digits)


def _listing(
    values: Sequence[object], lines: Mapping[document.Key, int], problems: list[document.Problem]
) -> document.Listing:
    """The values with their objects as records; what is there twice in one is a problem."""
    repeated = [
        document.Problem((), f"item {index + 1}: {name}: is here twice", lines.get((index,)))
        for index, value in enumerate(values)
        if isinstance(value, _Pairs)
        for name, count in Counter(name for name, _ in value).items()
        if count > 1
    ]
    items = [dict(value) if isinstance(value, _Pairs) else value for value in values]
    return document.Listing(items, lines, (*problems, *repeated))


def _problems(listing: document.Listing, home: Path, known: Known) -> Iterator[document.Problem]:
    """What is wrong with the items of a file whose form is right."""
    items = cast("Sequence[JSON]", listing.items)
    faults = ((index, *fault) for index, item in enumerate(items) for fault in _faults(item, home, known))
    for index, key, text in chain(faults, _name_faults(items)):
        words = ": ".join(filter(None, (f"item {index + 1}", key, text)))
        yield document.Problem((), words, document.line_of((index, key), listing.lines))


def _faults(record: JSON, home: Path, known: Known) -> Faults:
    if not isinstance(record, dict):
        yield "", "wanted keys with values: prompt, and if need be " + ", ".join(_KEYS[1:])
        return
    for key in record:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS) or f"; the keys are {', '.join(_KEYS)}"
            yield key, f"is not known here{hint}"
    yield from _text_faults(record)
    if "worker_id" in record and ("worker_type" in record or "repo" in record):
        yield "worker_id", "names a worker that is there: leave worker_type and repo out"
    for key, check in (("worker_type", known.worker_type), ("worker_id", known.worker_id)):
        if isinstance(name := record.get(key), str):
            yield from _refusal(key, check, name)
    if "timeout" in record and not _is_timeout(record["timeout"]):
        yield "timeout", f"must be a number of seconds {TIMEOUT_SECONDS}"
    if isinstance(repo := record.get("repo"), str) and not (home / repo).is_dir():
        yield "repo", f"{str(home / repo)!r} is not a directory"


def _text_faults(record: dict[str, JSON]) -> Faults:
    if "prompt" not in record:
        yield "prompt", "is missing"
    for key in ("prompt", "worker_type", "worker_id", "repo", "id"):
        value = record.get(key, "-")
        if isinstance(value, str):
            if not value.strip():
                yield key, "is empty"
            elif _SURROGATE.search(value):
                yield key, "holds half a character (a lone surrogate): mend the text"
        elif key != "id":
            yield key, "must be text (put it in quotes)"
        elif not _is_short_number(value):
            yield key, f"must be text, or a whole number of at most {_MOST_DIGITS} digits"


def _is_short_number(value: JSON) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MOST_DIGITS


def _refusal(key: str, check: Callable[[str], object], name: str) -> Faults:
    try:
        check(name)
    except UsageError as error:
        yield key, str(error)


def _is_timeout(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value in TIMEOUT_SECONDS


def _name_faults(items: Sequence[JSON]) -> Iterator[tuple[int, str, str]]:
    """Ids that are the names of other items: their ids, or their numbers where they have none."""
    records = [(index, item) for index, item in enumerate(items) if isinstance(item, dict)]
    owners = {str(index + 1): index for index, record in records if "id" not in record}
    numbered = frozenset(owners)
    for index, record in records:
        if "id" in record and (isinstance(record["id"], str) or _is_short_number(record["id"])):
            name = str(record["id"])
            owner = owners.setdefault(name, index)
            if name in numbered:
                yield index, "id", f"{name!r} is the number of item {owner + 1}, which has no id: give it one"
            elif owner != index:
                yield index, "id", f"{name!r} is that of item {owner + 1} already"


def _item(number: int, record: dict[str, JSON], home: Path) -> Item:
    content = json.dumps(record, sort_keys=True)
    name = str(record.get("id", number))
    repo = record.get("repo")
    return Item(
        name=name,
        key=f"id {name}" if "id" in record else f"{number} {digest(content)}",
        prompt=cast("str", record["prompt"]),
        worker_type=cast("str | None", record.get("worker_type")),
        worker_id=cast("str | None", record.get("worker_id")),
        timeout=cast("float | None", record.get("timeout")),
        repo=home / repo if isinstance(repo, str) else None,
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
