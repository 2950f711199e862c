"""The file of a batch: its tasks, read and checked, with every fault in it said at once."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from mahavishnu_core.errors import UsageError
from mahavishnu_core.settings import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mahavishnu_core.models import JSON

    Faults: TypeAlias = Iterator[str]

_KEYS = ("prompt", "worker_type", "worker_id", "timeout", "repo", "id")


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


def read_items(path: Path, known: Known) -> list[Item]:
    """The items of a YAML, JSON or JSON lines file. Raises UsageError with all that is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the batch file {str(path)!r} cannot be read: {reason}") from None
    records = _parse_lines(path, text) if path.suffix == ".jsonl" else _parse(path, text)
    faults = [
        f"{path}: item {number}: {fault}"
        for number, record in enumerate(records, 1)
        for fault in _faults(record, path.parent, known)
    ]
    faults += _repeated(path, records)
    if faults:
        raise UsageError("\n".join(faults))
    return [
        _item(number, cast("dict[str, JSON]", record), path.parent)
        for number, record in enumerate(records, 1)
    ]


def _parse_lines(path: Path, text: str) -> list[JSON]:
    records: list[JSON] = []
    faults = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                faults.append(f"{path}: line {number}: is not JSON: {error}")
    if faults:
        raise UsageError("\n".join(faults))
    return records


def _parse(path: Path, text: str) -> list[JSON]:
    if path.suffix == ".json":
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: is not JSON: {error}") from None
    else:
        data = _parse_yaml(path, text)
    if not isinstance(data, list):
        raise UsageError(f"{path}: wanted a list of tasks, '- prompt: …' each")
    return data


def _parse_yaml(path: Path, text: str) -> JSON:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where libyaml is there: ten times as fast
    try:
        return cast("JSON", yaml.load(text, loader))  # noqa: S506  # both are safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None


def _faults(record: JSON, home: Path, known: Known) -> Faults:
    if not isinstance(record, dict):
        yield "wanted keys with values: prompt, and if need be " + ", ".join(_KEYS[1:])
        return
    for key in record:
        if key not in _KEYS:
            yield f"{key}: is not known here; the keys are {', '.join(_KEYS)}"
    yield from _text_faults(record)
    if "worker_id" in record and ("worker_type" in record or "repo" in record):
        yield "worker_id: names a worker that is there: leave worker_type and repo out"
    for key, check in (("worker_type", known.worker_type), ("worker_id", known.worker_id)):
        if isinstance(name := record.get(key), str):
            yield from _refusal(key, check, name)
    if "timeout" in record and not _is_timeout(record["timeout"]):
        yield f"timeout: must be a number of seconds {TIMEOUT_SECONDS}"
    if isinstance(repo := record.get("repo"), str) and not (home / repo).is_dir():
        yield f"repo: {str(home / repo)!r} is not a directory"


def _text_faults(record: dict[str, JSON]) -> Faults:
    if "prompt" not in record:
        yield "prompt: is missing"
    for key in ("prompt", "worker_type", "worker_id", "repo"):
        value = record.get(key, "-")
        if not isinstance(value, str):
            yield f"{key}: must be text (put it in quotes)"
        elif not value.strip():
            yield f"{key}: is empty"
    if isinstance(record.get("id", ""), bool) or not isinstance(record.get("id", ""), str | int):
        yield "id: must be text or a whole number"


def _refusal(key: str, check: Callable[[str], object], name: str) -> Faults:
    try:
        check(name)
    except UsageError as error:
        yield f"{key}: {error}"


def _is_timeout(value: JSON) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return is_number and cast("float", value) in TIMEOUT_SECONDS


def _repeated(path: Path, records: Iterable[JSON]) -> Faults:
    first: dict[str, int] = {}
    for number, record in enumerate(records, 1):
        if isinstance(record, dict) and "id" in record:
            name = str(record["id"])
            if name in first:
                yield f"{path}: item {number}: id: {name!r} is that of item {first[name]} already"
            first.setdefault(name, number)


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
