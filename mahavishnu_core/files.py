"""Small files that appear whole, for their owner alone. Paths are strings, which are ten times cheaper."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mahavishnu_core.models import JSON

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW


def read_json(path: str) -> dict[str, JSON]:
    """Raises FileNotFoundError."""
    with open(path, "rb") as file:
        return cast("dict[str, JSON]", json.loads(file.read()))


def read_json_if_there(path: str) -> dict[str, JSON] | None:
    """None also for a file that a power cut has left empty or cut: it never said anything."""
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def create(path: str, content: bytes) -> None:
    """Write a file that must not be there yet. Raises FileExistsError."""
    descriptor = os.open(path, _CREATE | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def publish(path: str, record: Mapping[str, JSON], *, first_only: bool = False) -> None:
    """Have a JSON file appear whole. With ``first_only`` raises FileExistsError where there is one."""
    temporary = f"{path}.{os.urandom(6).hex()}"
    try:
        create(temporary, json.dumps(record).encode())
        (os.link if first_only else os.rename)(temporary, path)
    finally:
        with suppress(FileNotFoundError):  # it was renamed
            os.unlink(temporary)


def touch(path: str) -> None:
    os.close(os.open(path, _CREATE, 0o600))


def names(directory: str) -> list[str]:
    """What is in a directory, hidden entries left out; nothing where it is not there."""
    try:
        return [name for name in os.listdir(directory) if name[0] != "."]
    except FileNotFoundError:
        return []
